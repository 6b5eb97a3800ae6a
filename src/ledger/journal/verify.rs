//! Walking the whole chain, read-only, beside a running daemon or without one.

use std::time::Duration;

use super::line::latest_batch_in;
use super::medium::Medium;
use super::segments::{Chain, Damage, rest, scan};
use super::{JournalError, OnLine};

/// Damage is looked at again this often: a running daemon may just be writing there. Writing moves on, damage stays …
const RETRIES_MAX: u32 = 5;
/// … and a writer that always moves on is not waited for longer than this.
const LOOKS_MAX: u32 = 100;
/// … after this long.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// Good lines, which is also the last good seq.
    pub lines: u64,
    /// Segments seen.
    pub segments: u64,
    /// Bytes of good lines.
    pub bytes: u64,
    /// The hash of the last good line.
    pub head: Option<String>,
    /// The first thing that is wrong.
    pub damage: Option<Damage>,
}

/// Verifies every segment from the first line on and hands each good line to `on_line`, once.
///
/// # Errors
/// Missing segments and IO; damage is part of the result.
pub fn walk(medium: &Medium, on_line: &mut OnLine<'_>) -> Result<Walk, JournalError> {
    let mut walk = Walk::default();
    let mut chain = Chain::start();
    let firsts = medium.list().map_err(JournalError::io(medium.path(1)))?;
    for first in firsts {
        if first > chain.next_seq {
            return Err(JournalError::Missing { path: medium.path(chain.next_seq), seq: chain.next_seq });
        }
        walk.segments += 1;
        match segment(medium, first, &mut chain, on_line)? {
            Ok(len) => walk.bytes += len,
            Err(damage) => {
                walk.bytes += damage.offset;
                walk.damage = Some(damage);
                break;
            }
        }
    }
    walk.lines = chain.next_seq - 1;
    walk.head = chain.prev.map(|hash| String::from_utf8_lossy(&hash).into_owned());
    Ok(walk)
}

fn segment(
    medium: &Medium,
    first: u64,
    chain: &mut Chain,
    on_line: &mut OnLine<'_>,
) -> Result<Result<u64, Damage>, JournalError> {
    let begin = *chain;
    let mut seen = begin.next_seq;
    let (mut place, mut same) = (None, 0);
    for look in 0.. {
        *chain = begin;
        let mut once = |line: &super::Line<'_>, position| {
            if line.seq < seen {
                return Ok(());
            }
            seen = line.seq + 1;
            on_line(line, position)
        };
        let found = scan(medium, first, chain, &mut once)?;
        let Err(damage) = &found else { return Ok(found) };
        let remains = rest(medium, first, damage.offset).map_err(JournalError::io(damage.path.as_path()))?;
        if latest_batch_in(&remains).is_some_and(|batch| batch > damage.seq) {
            // Behind what is being written nothing can stand yet.
            return Ok(found);
        }
        same = if place.replace(damage.offset) == Some(damage.offset) { same + 1 } else { 0 };
        if same >= RETRIES_MAX || look >= LOOKS_MAX {
            return Ok(found);
        }
        #[expect(clippy::disallowed_methods, reason = "a command's own thread, no runtime waits for it")]
        std::thread::sleep(RETRY_AFTER);
    }
    unreachable!("the loop returns at the last look")
}
