//! Streaming a segment line by line, and the chain that the lines must form.

use std::io;
use std::path::PathBuf;

use super::line::{self, GENESIS, HashText, Line};
use super::medium::{Medium, Segment};
use super::{JournalError, LINE_BYTES_MAX, OnLine, Position};

/// Bytes read at a time.
const READ_BYTES: usize = 1024 * 1024;

/// What the next line must continue.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    /// The seq that comes next.
    pub next_seq: u64,
    /// The hash of the last line; None where the walk began behind it.
    pub prev: Option<HashText>,
    /// The batch of the last line; None where the walk began behind it.
    pub batch: Option<u64>,
}

/// The first byte that is not as the writer would have written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub path: PathBuf,
    /// Its first seq.
    pub segment: u64,
    /// Bytes before the damage.
    pub offset: u64,
    /// The seq that should stand there.
    pub seq: u64,
    /// What is wrong.
    pub reason: &'static str,
}

impl Damage {
    /// The same as a refusal.
    pub fn refusal(self) -> JournalError {
        let Damage { path, offset, seq, reason, .. } = self;
        JournalError::Damaged { path, offset, seq, reason }
    }
}

impl Chain {
    /// The chain of an empty journal.
    pub fn start() -> Self {
        Chain { next_seq: 1, prev: Some(GENESIS), batch: Some(0) }
    }

    /// Takes one line in.
    pub fn accept(&mut self, line: &Line<'_>) -> Result<(), &'static str> {
        if line.seq != self.next_seq {
            return Err("the line's seq is not the next one");
        }
        if self.prev.is_some_and(|prev| prev != line.prev) {
            return Err("the line does not name its predecessor's hash");
        }
        let continues = self.batch.is_none_or(|batch| batch == line.batch && batch != 0);
        if line.batch != line.seq && !continues {
            return Err("the line's batch is neither its own nor its predecessor's");
        }
        *self = Chain { next_seq: line.seq + 1, prev: Some(line.hash), batch: Some(line.batch) };
        Ok(())
    }
}

/// Reads a whole segment through the chain. Returns its length, or the first damage.
pub(crate) fn scan(
    medium: &Medium,
    first: u64,
    chain: &mut Chain,
    on_line: &mut OnLine<'_>,
) -> Result<Result<u64, Damage>, JournalError> {
    let path = medium.path(first);
    let segment = medium.open_read(first).map_err(JournalError::io(&path))?;
    let mut lines = Lines::new(&segment);
    let damage =
        |offset, seq, reason| Ok(Err(Damage { path: path.clone(), segment: first, offset, seq, reason }));
    loop {
        let offset = lines.offset;
        match lines.next().map_err(JournalError::io(&path))? {
            Found::End => return Ok(Ok(offset)),
            Found::Torn => return damage(offset, chain.next_seq, "the line has no end"),
            Found::Line(bytes) => {
                let line = match line::decode(bytes) {
                    Ok(line) => line,
                    Err(reason) => return damage(offset, chain.next_seq, reason),
                };
                if let Err(reason) = chain.accept(&line) {
                    return damage(offset, chain.next_seq, reason);
                }
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                on_line(&line, Position { segment: first, offset, len })?;
            }
        }
    }
}

/// Where the chain stands behind a segment, by its last line alone.
pub(crate) fn last_line(medium: &Medium, first: u64) -> Result<Chain, JournalError> {
    let path = medium.path(first);
    let len = medium.open_read(first).and_then(|segment| segment.size()).map_err(JournalError::io(&path))?;
    let from = len.saturating_sub(LINE_BYTES_MAX as u64 + 2);
    let tail = rest(medium, first, from).map_err(JournalError::io(&path))?;
    let lines = tail.strip_suffix(b"\n");
    let start = lines.map_or(0, |lines| lines.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1));
    let line = lines
        .ok_or("the segment does not end with a whole line")
        .and_then(|lines| line::decode(&lines[start..]));
    match line {
        Ok(line) => Ok(Chain { next_seq: line.seq + 1, prev: Some(line.hash), batch: Some(line.batch) }),
        Err(reason) => {
            let offset = from + start as u64;
            Err(Damage { path, segment: first, offset, seq: first, reason }.refusal())
        }
    }
}

/// Everything from `offset` to the end of a segment.
pub(crate) fn rest(medium: &Medium, first: u64, offset: u64) -> io::Result<Vec<u8>> {
    let segment = medium.open_read(first)?;
    let mut bytes = vec![0; usize::try_from(segment.size()?.saturating_sub(offset)).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match segment.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

struct Lines<'a> {
    segment: &'a Segment,
    buffer: Vec<u8>,
    /// First byte of `buffer` not yet handed out.
    start: usize,
    /// Where `buffer[start]` stands in the segment.
    offset: u64,
    ended: bool,
}

enum Found<'b> {
    Line(&'b [u8]),
    Torn,
    End,
}

impl<'a> Lines<'a> {
    fn new(segment: &'a Segment) -> Self {
        Lines { segment, buffer: Vec::new(), start: 0, offset: 0, ended: false }
    }

    fn next(&mut self) -> io::Result<Found<'_>> {
        let mut searched = self.start;
        loop {
            if let Some(found) = self.buffer[searched..].iter().position(|&byte| byte == b'\n') {
                let (from, to) = (self.start, searched + found);
                self.start = to + 1;
                self.offset += (to + 1 - from) as u64;
                return Ok(Found::Line(&self.buffer[from..to]));
            }
            let held = self.buffer.len() - self.start;
            if self.ended || held > LINE_BYTES_MAX {
                return Ok(if held == 0 { Found::End } else { Found::Torn });
            }
            self.fill()?;
            searched = self.start + held;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let held = self.buffer.len();
        // Small segments are many where they rotate early: no megabyte is cleared for a few lines.
        let rest = self.segment.size()?.saturating_sub(self.offset + held as u64);
        let room = usize::try_from(rest).unwrap_or(READ_BYTES).clamp(1, READ_BYTES);
        self.buffer.resize(held + room, 0);
        let read = self.segment.read_at(&mut self.buffer[held..], self.offset + held as u64);
        self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(())
    }
}
