//! Reading single lines back by position.

use super::medium::Medium;
use super::segments::Damage;
use super::{JournalError, LINE_BYTES_MAX, Position};

/// The bytes of the line at `position`, its hash checked, newline not included.
///
/// # Errors
/// IO, or damage at that place.
pub fn read_line(medium: &Medium, seq: u64, position: Position) -> Result<Vec<u8>, JournalError> {
    let path = medium.path(position.segment);
    let damage = |reason| {
        let (segment, offset) = (position.segment, position.offset);
        Damage { path: medium.path(segment), segment, offset, seq, reason }.refusal()
    };
    let len = usize::try_from(position.len).unwrap_or(usize::MAX);
    if len > LINE_BYTES_MAX {
        return Err(damage("the index names an impossible length"));
    }
    let segment = medium.open_read(position.segment).map_err(JournalError::io(&path))?;
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        let read = segment.read_at(&mut bytes[filled..], position.offset + filled as u64);
        match read.map_err(JournalError::io(&path))? {
            0 => return Err(damage("the segment ends before the line")),
            count => filled += count,
        }
    }
    super::line::decode(&bytes).map_err(damage)?;
    Ok(bytes)
}
