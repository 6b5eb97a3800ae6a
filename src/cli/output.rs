//! What commands print. Everything goes through here: colours on a terminal only, a closed pipe is no panic.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};

/// A line on standard output.
pub(super) fn say(line: impl Display) {
    // A reader that went away (`| head`) is no fault of ours.
    let _ = writeln!(anstream::stdout().lock(), "{line}");
}

/// A line on standard error.
pub(super) fn complain(line: &dyn Display) {
    // Nobody is left to tell.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// JSON, indented for people when they look at it.
pub(super) fn json(value: &serde_json::Value) {
    if std::io::stdout().is_terminal() {
        say(format_args!("{value:#}"));
    } else {
        say(value);
    }
}

/// A table with these headings, as wide as the terminal.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.iter().copied());
    table
}

/// A text from elsewhere without control characters: it must not steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}
