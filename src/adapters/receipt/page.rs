//! One page, filled from top to bottom.

use pdf_writer::{Content, Name, Str};

use super::metrics::Face;
use super::winansi;

/// A4, in points.
pub(super) const WIDTH: f32 = 595.0;
/// A4, in points.
pub(super) const HEIGHT: f32 = 842.0;
/// Left and right, in points.
const MARGIN: f32 = 62.0;
/// From the upper edge to the first line, in points.
const TOP: f32 = 64.0;
/// From the lower edge to the foot, in points.
const BOTTOM: f32 = 48.0;
/// Where the values of a row begin, from the left margin.
const VALUES: f32 = 158.0;
/// A line is so many times as high as its type.
const LEADING: f32 = 1.3;
/// Lines of one text; a longer one is cut, so that everything stays on one page.
const LINES_MAX: usize = 3;
/// The type size of a row.
const ROW: f32 = 10.5;

/// A colour: red, green, blue.
pub(super) type Colour = (f32, f32, f32);
/// What is read first.
pub(super) const INK: Colour = (0.10, 0.12, 0.14);
/// What is read when it is looked for.
pub(super) const MUTED: Colour = (0.34, 0.37, 0.41);
/// What must not be missed.
pub(super) const RED: Colour = (0.66, 0.10, 0.10);
/// Rules and the ground of the total.
const GREEN: Colour = (0.04, 0.36, 0.23);
const PALE: Colour = (0.93, 0.96, 0.94);
const LINE: Colour = (0.85, 0.87, 0.88);

/// The name under which the page knows a face.
pub(super) fn font(face: Face) -> Name<'static> {
    match face {
        Face::Regular => Name(b"R"),
        Face::Bold => Name(b"B"),
    }
}

/// A page under way.
pub(super) struct Page {
    content: Content,
    /// What is written next stands below this height.
    y: f32,
}

impl Page {
    /// An empty page.
    pub(super) fn new() -> Self {
        Self { content: Content::new(), y: HEIGHT - TOP }
    }

    /// Leaves room.
    pub(super) fn down(&mut self, points: f32) {
        self.y -= points;
    }

    /// A text over the whole width.
    pub(super) fn paragraph(&mut self, text: &str, (face, size): (Face, f32), colour: Colour) {
        for line in wrapped(text, (face, size), WIDTH - 2.0 * MARGIN) {
            self.down(size * LEADING);
            self.write(&line, (MARGIN, self.y), (face, size), colour);
        }
    }

    /// A label and its value.
    pub(super) fn row(&mut self, label: &str, value: &str) {
        self.down(6.0);
        let label = winansi::encode(label);
        let first = self.y - ROW * LEADING;
        self.write(&label, (MARGIN, first), (Face::Regular, ROW), MUTED);
        for line in wrapped(value, (Face::Regular, ROW), WIDTH - 2.0 * MARGIN - VALUES) {
            self.down(ROW * LEADING);
            self.write(&line, (MARGIN + VALUES, self.y), (Face::Regular, ROW), INK);
        }
        self.down(7.0);
        self.stroke(LINE, 0.5);
    }

    /// The sum, in a box of its own.
    pub(super) fn total(&mut self, label: &str, sum: &str) {
        let (height, size) = (46.0, 18.0);
        self.down(height);
        let (red, green, blue) = PALE;
        self.content.set_fill_rgb(red, green, blue);
        self.content.rect(MARGIN, self.y, WIDTH - 2.0 * MARGIN, height).fill_nonzero();
        self.write(&winansi::encode(label), (MARGIN + 14.0, self.y + 18.0), (Face::Bold, 12.0), INK);
        let sum = winansi::encode(sum);
        let left = WIDTH - MARGIN - 14.0 - Face::Bold.width(&sum, size);
        self.write(&sum, (left, self.y + 16.0), (Face::Bold, size), GREEN);
    }

    /// A rule over the whole width.
    pub(super) fn rule(&mut self) {
        self.stroke(GREEN, 1.5);
    }

    /// A small line at the lower edge.
    pub(super) fn foot(&mut self, text: &str) {
        self.write(&winansi::encode(text), (MARGIN, BOTTOM), (Face::Regular, 8.5), MUTED);
    }

    /// The page's content stream.
    pub(super) fn finish(self) -> Vec<u8> {
        self.content.finish().into_vec()
    }

    fn stroke(&mut self, (red, green, blue): Colour, width: f32) {
        self.content.set_stroke_rgb(red, green, blue).set_line_width(width);
        self.content.move_to(MARGIN, self.y).line_to(WIDTH - MARGIN, self.y).stroke();
    }

    fn write(&mut self, text: &[u8], (x, y): (f32, f32), (face, size): (Face, f32), colour: Colour) {
        let (red, green, blue) = colour;
        self.content.begin_text().set_font(font(face), size).set_fill_rgb(red, green, blue);
        self.content.next_line(x, y).show(Str(text)).end_text();
    }
}

/// The text in lines that fit `width`: broken at spaces, a word that fits no line anywhere.
fn wrapped(text: &str, (face, size): (Face, f32), width: f32) -> Vec<Vec<u8>> {
    let encoded = winansi::encode(text);
    let fits = |line: &[u8]| face.width(line, size) <= width;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut line = Vec::new();
    for word in encoded.split(|code| *code == b' ').filter(|word| !word.is_empty()) {
        let longer = if line.is_empty() { word.to_vec() } else { [&line[..], b" ", word].concat() };
        if fits(&longer) {
            line = longer;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for code in word {
            line.push(*code);
            if !fits(&line) {
                line.pop();
                lines.push(std::mem::replace(&mut line, vec![*code]));
            }
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        if let Some(last) = lines.last_mut() {
            shorten(last, &fits);
        }
    }
    lines
}

/// Ends a line that was cut with an ellipsis.
fn shorten(line: &mut Vec<u8>, fits: &impl Fn(&[u8]) -> bool) {
    const ELLIPSIS: u8 = 0x85;
    line.push(ELLIPSIS);
    while !fits(line) && line.len() > 1 {
        line.remove(line.len() - 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_broken_at_spaces_and_cut_at_last() {
        let lines = |text: &str, width| -> Vec<String> {
            let lines = wrapped(text, (Face::Regular, 10.0), width);
            assert!(lines.iter().all(|line| Face::Regular.width(line, 10.0) <= width), "{text}");
            lines.iter().map(|line| line.iter().map(|code| char::from(*code)).collect()).collect()
        };
        assert_eq!(lines("", 50.0), Vec::<String>::new());
        assert_eq!(lines("deux mots", 500.0), ["deux mots"]);
        assert_eq!(lines("deux mots", 30.0), ["deux", "mots"]);
        assert_eq!(lines("anticonstitutionnel", 40.0).concat(), "anticonstitutionnel");
        let cut = lines(&"mot ".repeat(100), 60.0);
        assert_eq!(cut.len(), LINES_MAX);
        assert!(cut[2].ends_with('\u{85}'), "{cut:?}");
    }
}
