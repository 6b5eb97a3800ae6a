//! A CSV file of unknown making as rows of cells: its characters, its separator, its quotes.

/// Most rows read, headings included.
pub const ROWS_MAX: usize = 100_000;
/// Most cells of a row.
const CELLS_MAX: usize = 200;
/// Separators that back offices write.
const SEPARATORS: [char; 4] = [';', ',', '\t', '|'];
/// Lines that are looked at to find the separator.
const SNIFFED_LINES: usize = 20;

/// A row and the line of the file at which it begins, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cells {
    /// The line.
    pub(super) line: usize,
    /// Its cells, without the white space around them.
    pub(super) cells: Vec<String>,
}

/// Why the file is no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No row at all.
    Empty,
    /// A quote that begins on this line never ends.
    Quote(usize),
    /// More rows than [`ROWS_MAX`].
    Rows,
    /// More cells in the row of this line than any export has.
    Wide(usize),
    /// Zero bytes: a spreadsheet's own file (.xls, .xlsx), a picture.
    Binary,
}

/// The file's rows that hold anything.
///
/// # Errors
/// See [`Fault`].
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Cells>, Fault> {
    let text = decode(bytes);
    if text.contains('\0') || text.starts_with("PK\u{3}\u{4}") {
        return Err(Fault::Binary);
    }
    let (separator, skipped) = separator(&text);
    let rows = split(&text, separator, skipped)?;
    if rows.is_empty() { Err(Fault::Empty) } else { Ok(rows) }
}

/// UTF-8 or UTF-16 by its mark, UTF-8 if it is that, else the code page of Western European Windows.
fn decode(bytes: &[u8]) -> String {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).map(|one| one.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => match std::str::from_utf8(rest) {
            Ok(text) => text.to_owned(),
            // Of 0x80 to 0x9f only the apostrophe and the euro are ever seen; neither is in a heading or an amount.
            Err(_) => rest.iter().map(|byte| char::from(*byte)).collect(),
        },
    }
}

/// The separator, and how many lines at the top only name it (`sep=;`).
fn separator(text: &str) -> (char, usize) {
    // Not trimmed: the separator may be white space.
    let first = text.lines().next().unwrap_or_default();
    if let Some(named) = first.strip_prefix("sep=").and_then(|rest| rest.chars().next()) {
        return (named, 1);
    }
    let count = |separator: char| {
        let mut quoted = false;
        let widest = text.lines().take(SNIFFED_LINES).map(|line| {
            let seen = line.chars().filter(|one| {
                quoted ^= *one == '"';
                !quoted && *one == separator
            });
            seen.count()
        });
        widest.max().unwrap_or(0)
    };
    // The first of equals: `max_by_key` would take the last.
    let most = SEPARATORS.into_iter().rev().max_by_key(|separator| count(*separator));
    (most.unwrap_or(';'), 0)
}

/// A row that is being read.
struct Reading {
    rows: Vec<Cells>,
    row: Cells,
    cell: String,
    quoted: bool,
}

fn split(text: &str, separator: char, skipped: usize) -> Result<Vec<Cells>, Fault> {
    let mut line = 1;
    let row = Cells { line, cells: Vec::new() };
    let mut reading = Reading { rows: Vec::new(), row, cell: String::new(), quoted: false };
    let mut inside = None;
    let mut rest = text.chars().peekable();
    while let Some(one) = rest.next() {
        let ends = one == '\n' || (one == '\r' && rest.peek() != Some(&'\n'));
        line += usize::from(ends);
        match (inside, one) {
            (Some(_), '"') if rest.peek() == Some(&'"') => {
                rest.next();
                reading.cell.push('"');
            }
            (Some(_), '"') => inside = None,
            (Some(_), one) => reading.cell.push(one),
            (None, '"') if reading.cell.trim().is_empty() && !reading.quoted => {
                reading.cell.clear();
                reading.quoted = true;
                inside = Some(line);
            }
            (None, one) if one == separator => reading.end_cell()?,
            (None, '\r') if !ends => {}
            (None, _) if ends => reading.end_row(line)?,
            (None, one) => reading.cell.push(one),
        }
    }
    if let Some(line) = inside {
        return Err(Fault::Quote(line));
    }
    reading.end_row(line)?;
    reading.rows.retain(|row| row.line > skipped);
    Ok(reading.rows)
}

impl Reading {
    fn end_cell(&mut self) -> Result<(), Fault> {
        if self.row.cells.len() >= CELLS_MAX {
            return Err(Fault::Wide(self.row.line));
        }
        let white = |one: char| one.is_whitespace() || one == '\u{feff}';
        self.row.cells.push(self.cell.trim_matches(white).to_owned());
        self.cell.clear();
        self.quoted = false;
        Ok(())
    }
    /// Ends the row; the next one begins at `line`. Rows without anything are left out.
    fn end_row(&mut self, line: usize) -> Result<(), Fault> {
        self.end_cell()?;
        let row = std::mem::replace(&mut self.row, Cells { line, cells: Vec::new() });
        if row.cells.iter().any(|cell| !cell.is_empty()) {
            if self.rows.len() >= ROWS_MAX {
                return Err(Fault::Rows);
            }
            self.rows.push(row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells(bytes: &[u8]) -> Vec<(usize, Vec<String>)> {
        read(bytes).unwrap().into_iter().map(|row| (row.line, row.cells)).collect()
    }

    #[test]
    fn files_of_every_making() {
        let check = |bytes: &[u8], want: &[(usize, &[&str])]| {
            let want: Vec<(usize, Vec<String>)> = want
                .iter()
                .map(|(line, row)| (*line, row.iter().map(|one| (*one).to_owned()).collect()))
                .collect();
            assert_eq!(cells(bytes), want, "{}", String::from_utf8_lossy(bytes));
        };
        check(b"a;b\r\n1;2\r\n", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        check(b"a,b\n1,2", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        check(b"a\tb\r1\t2\r", &[(1, &["a", "b"]), (2, &["1", "2"])]);
        check(b"a|b\n\n \n1|2\n", &[(1, &["a", "b"]), (4, &["1", "2"])]);
        check(b"sep=;\r\na;b,c\r\n", &[(2, &["a", "b,c"])]);
        check(b"sep=\t\r\na;b\tc\r\n", &[(2, &["a;b", "c"])]);
        check("\u{feff}é;b\n".as_bytes(), &[(1, &["é", "b"])]);
        check(b"\xe9;b\n", &[(1, &["é", "b"])]);
        check(b"\xff\xfe\xe9\x00;\x00b\x00\n\x00", &[(1, &["é", "b"])]);
        check(
            b"\"a;x\"; \"b \"\"q\"\"\" ;c\n\"two\nlines\";2;3\n",
            &[(1, &["a;x", "b \"q\"", "c"]), (2, &["two\nlines", "2", "3"])],
        );
        // A quote within a cell is a character, as Excel reads it.
        check(b"5\" disk;b\n", &[(1, &["5\" disk", "b"])]);
    }

    #[test]
    fn what_is_no_table_is_named() {
        let check = |bytes: &[u8], fault| assert_eq!(read(bytes), Err(fault));
        check(b"", Fault::Empty);
        check(b"\r\n ; \r\n", Fault::Empty);
        check(b"a;b\n\"c;d\n", Fault::Quote(2));
        check(b"PK\x03\x04....", Fault::Binary);
        check(b"a\0b", Fault::Binary);
        check(";".repeat(CELLS_MAX).as_bytes(), Fault::Wide(1));
        check("a\n".repeat(ROWS_MAX + 1).as_bytes(), Fault::Rows);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _read = read(&bytes);
        }

        /// Whatever texts a file holds, written with any separator and quoted they are read back.
        #[test]
        fn quoted_cells_survive(
            rows in prop::collection::vec(prop::collection::vec("[a-z;,|\t\"é\r\n]{1,9}x", 2..5), 1..5),
            separator in prop::sample::select(&SEPARATORS[..]),
        ) {
            // The sniffer is told by a first line, since these cells hold every separator.
            let line = |row: &Vec<String>| {
                let cells = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")));
                cells.collect::<Vec<_>>().join(&separator.to_string())
            };
            let text = format!("sep={separator}\r\n{}\r\n", rows.iter().map(line).collect::<Vec<_>>().join("\r\n"));
            let trimmed = |row: Vec<String>| row.iter().map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
            let got: Vec<_> = cells(text.as_bytes()).into_iter().map(|(_, row)| row).collect();
            prop_assert_eq!(got, rows.into_iter().map(trimmed).collect::<Vec<_>>());
        }
    }
}
