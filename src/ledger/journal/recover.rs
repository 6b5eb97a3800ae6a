//! Opening the journal after whatever happened to it.
//!
//! A crash may leave any subset of the last, never acknowledged batch on disk. That is cut off from its first bad
//! byte. Anything else is damage to acknowledged data and refused, unchanged.

use tracing::warn;

use super::line::{decode, latest_batch_in};
use super::medium::Medium;
use super::segments::{Chain, Damage, last_line, rest, scan};
use super::{Applied, JournalError, OnLine};

/// Where the writer goes on.
#[derive(Debug)]
pub struct Recovered {
    /// What the next line continues.
    pub chain: Chain,
    /// The segment to append to and its length in bytes; None for an empty journal.
    pub tail: Option<(u64, u64)>,
    /// What was cut off.
    pub cut: Option<Cut>,
}

/// A torn tail that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// What was found.
    pub damage: Damage,
    /// How much was removed.
    pub bytes: u64,
}

/// Checks the journal from the segment of `applied` on, cuts a torn tail off, hands every line after `applied` to
/// `on_line`, and makes what it found durable.
///
/// Why the whole segment and not only what follows `applied`: 64 MiB are hashed in a fraction of a second, and a
/// flipped bit in recent history is found at the next start. Of older segments only the last line is read, which
/// shows a missing, shortened or doubled one; a flipped bit in them is `ledger verify`'s part.
///
/// # Errors
/// Damage to acknowledged lines, missing segments, an index that does not belong to this journal, or IO.
pub fn recover(
    medium: &Medium,
    applied: Option<&Applied>,
    on_line: &mut OnLine<'_>,
) -> Result<Recovered, JournalError> {
    medium.prepare().map_err(JournalError::io(medium.path(1)))?;
    let firsts = medium.list().map_err(JournalError::io(medium.path(1)))?;
    let known = applied.map_or(0, |applied| applied.seq);
    let begin = applied.map_or(1, |applied| applied.position.segment);
    let Some(skipped) = firsts.iter().position(|&first| first == begin) else {
        return match firsts.last() {
            None if known == 0 => Ok(Recovered { chain: Chain::start(), tail: None, cut: None }),
            None => Err(JournalError::Behind { path: medium.path(begin), last: 0, applied: known }),
            Some(_) => Err(JournalError::Missing { path: medium.path(begin), seq: begin }),
        };
    };
    if firsts[0] != 1 {
        return Err(JournalError::Missing { path: medium.path(1), seq: 1 });
    }
    let mut chain = predecessors(medium, &firsts[..skipped])?;
    let mut tail = None;
    let mut cut = None;
    let firsts = &firsts[skipped..];
    for (place, &first) in firsts.iter().enumerate() {
        if first != chain.next_seq {
            return Err(gap(medium, first, chain.next_seq));
        }
        let mut receive = after(applied, medium, on_line);
        let len = match scan(medium, first, &mut chain, &mut *receive)? {
            Ok(len) => len,
            Err(damage) if place + 1 < firsts.len() => return Err(damage.refusal()),
            Err(damage) => cut.insert(cut_off(medium, damage, known)?).damage.offset,
        };
        tail = Some((first, len));
    }
    failpoint!("journal.cut_before_settle" if cut.is_some());
    let last = chain.next_seq - 1;
    if last < known {
        return Err(JournalError::Behind { path: medium.path(begin), last, applied: known });
    }
    settle(medium, tail)?;
    Ok(Recovered { chain, tail, cut })
}

/// Passes on what the index does not have yet, and checks that the line it ended with is the same one.
fn after<'a>(
    applied: Option<&'a Applied>,
    medium: &'a Medium,
    on_line: &'a mut OnLine<'_>,
) -> Box<OnLine<'a>> {
    Box::new(move |line, position| match applied {
        Some(applied) if line.seq < applied.seq => Ok(()),
        Some(applied) if line.seq == applied.seq => {
            if applied.hash.as_bytes() == line.hash && applied.position == position {
                Ok(())
            } else {
                Err(JournalError::Foreign { path: medium.path(position.segment), seq: line.seq })
            }
        }
        Some(_) | None => on_line(line, position),
    })
}

/// Looks at the last line of every segment that is not read: each must end where the next one begins.
fn predecessors(medium: &Medium, firsts: &[u64]) -> Result<Chain, JournalError> {
    let mut chain = Chain::start();
    for &first in firsts {
        if first != chain.next_seq {
            return Err(gap(medium, first, chain.next_seq));
        }
        chain = last_line(medium, first)?;
    }
    Ok(chain)
}

fn gap(medium: &Medium, first: u64, expected: u64) -> JournalError {
    if first > expected {
        JournalError::Missing { path: medium.path(expected), seq: expected }
    } else {
        let path = medium.path(first);
        JournalError::Damaged {
            path,
            offset: 0,
            seq: expected,
            reason: "the segment begins before its predecessor ends",
        }
    }
}

/// Removes a torn tail, or refuses because acknowledged lines are among the damage.
fn cut_off(medium: &Medium, damage: Damage, known: u64) -> Result<Cut, JournalError> {
    if damage.seq <= known {
        return Err(damage.refusal());
    }
    let remains =
        rest(medium, damage.segment, damage.offset).map_err(JournalError::io(damage.path.as_path()))?;
    // The damaged line belongs to a batch that began at its seq or before. A batch that began later was written
    // after this one had been synced and answered.
    if latest_batch_in(&remains).is_some_and(|batch| batch > damage.seq) {
        return Err(damage.refusal());
    }
    // A sound line in the wrong place is no torn write: somebody put this segment here.
    let line = remains.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if line.len() < remains.len() && decode(line).is_ok() {
        return Err(damage.refusal());
    }
    let segment = medium.open_append(damage.segment).map_err(JournalError::io(damage.path.as_path()))?;
    segment.truncate(damage.offset).map_err(JournalError::io(damage.path.as_path()))?;
    warn!(
        file = %damage.path.display(), offset = damage.offset, seq = damage.seq, bytes = remains.len(),
        reason = damage.reason, "cut off a torn write at the end of the journal; it had not been acknowledged"
    );
    Ok(Cut { damage, bytes: remains.len() as u64 })
}

/// Makes what was read durable: a process that died between write and sync leaves lines in the page cache only,
/// and from here on they count as history.
fn settle(medium: &Medium, tail: Option<(u64, u64)>) -> Result<(), JournalError> {
    let Some((first, _)) = tail else { return Ok(()) };
    let path = medium.path(first);
    let segment = medium.open_append(first).map_err(JournalError::io(&path))?;
    segment.sync().map_err(JournalError::io(&path))?;
    medium.sync_entries().map_err(JournalError::io(&path))
}
