//! Pages, filled from top to bottom.

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
/// The type size of a row.
const ROW: f32 = 10.5;
/// The type size of the foot, and what stays free above it, in points.
const FOOT: f32 = 8.5;
const ABOVE_FOOT: f32 = 16.0;

/// A colour: red, green, blue.
pub(in crate::adapters) type Colour = (f32, f32, f32);
/// What is read first.
pub(in crate::adapters) const INK: Colour = (0.10, 0.12, 0.14);
/// What is read when it is looked for.
pub(in crate::adapters) const MUTED: Colour = (0.34, 0.37, 0.41);
/// What must not be missed.
pub(in crate::adapters) const RED: Colour = (0.66, 0.10, 0.10);
/// Rules and the ground of the total.
const GREEN: Colour = (0.04, 0.36, 0.23);
const PALE: Colour = (0.93, 0.96, 0.94);
const LINE: Colour = (0.85, 0.87, 0.88);

/// The name under which the page knows a face.
pub(super) fn font(face: Face) -> Name<'static> {
    match face {
        Face::Regular => Name(b"R"),
        Face::Bold => Name(b"B"),
        Face::Mono => Name(b"M"),
    }
}

/// Pages under way.
pub(in crate::adapters) struct Paper {
    /// Pages that are full.
    full: Vec<Content>,
    content: Content,
    /// What is written next stands below this height.
    y: f32,
    /// Lines of one text; a longer one is cut.
    lines_max: usize,
    foot: String,
}

impl Paper {
    /// An empty page, for texts of any length: a new page begins where one is full.
    pub(in crate::adapters) fn flowing() -> Self {
        Self::cutting(usize::MAX)
    }

    /// The same, but a text of more lines is cut.
    pub(in crate::adapters) fn cutting(lines_max: usize) -> Self {
        Self { full: Vec::new(), content: Content::new(), y: HEIGHT - TOP, lines_max, foot: String::new() }
    }

    /// Leaves room.
    pub(in crate::adapters) fn down(&mut self, points: f32) {
        self.y -= points;
    }

    /// What follows stays together if it is not higher than this: it begins on a new page where it does not fit.
    pub(in crate::adapters) fn room(&mut self, points: f32) {
        if self.y - points < BOTTOM + ABOVE_FOOT {
            self.full.push(std::mem::replace(&mut self.content, Content::new()));
            self.y = HEIGHT - TOP;
        }
    }

    /// A text over the whole width.
    pub(in crate::adapters) fn paragraph(&mut self, text: &str, (face, size): (Face, f32), colour: Colour) {
        for line in wrapped(text, (face, size), WIDTH - 2.0 * MARGIN, self.lines_max) {
            self.room(size * LEADING);
            self.down(size * LEADING);
            self.write(&line, (MARGIN, self.y), (face, size), colour);
        }
    }

    /// A label and its value.
    pub(in crate::adapters) fn row(&mut self, label: &str, value: &str) {
        let lines = wrapped(value, (Face::Regular, ROW), WIDTH - 2.0 * MARGIN - VALUES, self.lines_max);
        self.room(6.0 + ROW * LEADING + 7.0);
        self.down(6.0);
        let label = winansi::encode(label);
        let first = self.y - ROW * LEADING;
        self.write(&label, (MARGIN, first), (Face::Regular, ROW), MUTED);
        for line in lines {
            self.room(ROW * LEADING);
            self.down(ROW * LEADING);
            self.write(&line, (MARGIN + VALUES, self.y), (Face::Regular, ROW), INK);
        }
        self.down(7.0);
        self.stroke(LINE, 0.5);
    }

    /// The sum, in a box of its own.
    pub(in crate::adapters) fn total(&mut self, label: &str, sum: &str) {
        let (height, size) = (46.0, 18.0);
        self.room(height);
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
    pub(in crate::adapters) fn rule(&mut self) {
        self.stroke(GREEN, 1.5);
    }

    /// A small line at the lower edge of every page; with several pages their numbers stand at its end.
    pub(in crate::adapters) fn foot(&mut self, text: &str) {
        text.clone_into(&mut self.foot);
    }

    /// The pages' content streams, at least one.
    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        let mut pages = std::mem::take(&mut self.full);
        pages.push(std::mem::replace(&mut self.content, Content::new()));
        let count = pages.len();
        let foot = winansi::encode(&self.foot);
        let finished = pages.into_iter().zip(1..).map(|(page, number)| {
            self.content = page;
            self.write(&foot, (MARGIN, BOTTOM), (Face::Regular, FOOT), MUTED);
            if count > 1 {
                let number = winansi::encode(&format!("{number} / {count}"));
                let left = WIDTH - MARGIN - Face::Regular.width(&number, FOOT);
                self.write(&number, (left, BOTTOM), (Face::Regular, FOOT), MUTED);
            }
            std::mem::replace(&mut self.content, Content::new()).finish().into_vec()
        });
        finished.collect()
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

/// The text in lines that fit `width`: broken at spaces, a word that fits no line anywhere; more than `lines_max` are cut.
fn wrapped(text: &str, (face, size): (Face, f32), width: f32, lines_max: usize) -> Vec<Vec<u8>> {
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
    if lines.len() > lines_max {
        lines.truncate(lines_max);
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
            let lines = wrapped(text, (Face::Regular, 10.0), width, 3);
            assert!(lines.iter().all(|line| Face::Regular.width(line, 10.0) <= width), "{text}");
            lines.iter().map(|line| line.iter().map(|code| char::from(*code)).collect()).collect()
        };
        assert_eq!(lines("", 50.0), Vec::<String>::new());
        assert_eq!(lines("deux mots", 500.0), ["deux mots"]);
        assert_eq!(lines("deux mots", 30.0), ["deux", "mots"]);
        assert_eq!(lines("anticonstitutionnel", 40.0).concat(), "anticonstitutionnel");
        let cut = lines(&"mot ".repeat(100), 60.0);
        assert_eq!(cut.len(), 3);
        assert!(cut[2].ends_with('\u{85}'), "{cut:?}");
        let whole = wrapped(&"mot ".repeat(100), (Face::Regular, 10.0), 60.0, usize::MAX);
        let words = whole.iter().map(|line| line.split(|code| *code == b' ').count()).sum::<usize>();
        assert_eq!(words, 100, "nothing is cut where nothing must be");
    }

    /// Nothing is written below the foot, and no page is begun without need.
    #[test]
    fn a_page_that_is_full_is_followed_by_another() {
        let pages = |lines: usize| {
            let mut paper = Paper::flowing();
            paper.foot("Preuve");
            (0..lines).for_each(|_| paper.paragraph("une ligne", (Face::Regular, 10.0), INK));
            paper
                .finish()
                .into_iter()
                .map(|page| String::from_utf8_lossy(&page).into_owned())
                .collect::<Vec<_>>()
        };
        let fit = ((HEIGHT - TOP - BOTTOM - ABOVE_FOOT) / (10.0 * LEADING)).floor();
        let (fit, one) = ((0..).find(|n: &u16| f32::from(*n) >= fit).unwrap(), pages(1));
        assert!(one.len() == 1 && one[0].matches("Tj").count() == 2, "a lone page has no number: {one:?}");
        let (full, more) = (pages(usize::from(fit)), pages(usize::from(fit) + 1));
        assert_eq!((full.len(), more.len()), (1, 2));
        assert!(more.iter().all(|page| page.contains("(Preuve) Tj")), "{more:?}");
        assert!(more[1].contains("(2 / 2) Tj"), "{}", more[1]);
    }
}
