//! A4 pages as PDF (ISO 32000-1), filled from top to bottom. Equal texts make equal bytes: no clock, no chance.
//!
//! Why the standard fonts: every reader has them or their twins, they know all of French, and a receipt stays below five
//! kilobytes, which matters on 2G.

mod metrics;
mod page;
mod winansi;

use pdf_writer::writers::FileSpec;
use pdf_writer::{Date, Name, Pdf, Rect, Ref, Str, TextStr};

use crate::domain::merchant::Merchant;
use crate::domain::values::{Lang, Timestamp};

pub(super) use metrics::Face;
use page::{HEIGHT, WIDTH, font};
pub(super) use page::{INK, MUTED, Paper, RED};

/// The faces and what readers know them by.
const FACES: [(Face, &[u8]); 3] =
    [(Face::Regular, b"Helvetica"), (Face::Bold, b"Helvetica-Bold"), (Face::Mono, b"Courier")];

/// What a reader shows about the file.
pub(super) struct About<'a> {
    pub(super) title: &'a str,
    pub(super) author: &'a str,
    pub(super) lang: Lang,
    pub(super) made_at: Timestamp,
}

/// A file that travels inside, byte for byte.
pub(super) struct Attached<'a> {
    /// ASCII.
    pub(super) name: &'a str,
    /// Such as `application/json`.
    pub(super) media: &'a str,
    pub(super) bytes: &'a [u8],
}

/// The numbers of the objects that every file has, and of the first page; each page has two.
struct Places {
    catalog: Ref,
    pages: Ref,
    info: Ref,
    fonts: [Ref; FACES.len()],
    first_page: i32,
}

impl Places {
    fn new() -> Self {
        let [catalog, pages, info, regular, bold, mono] = [1, 2, 3, 4, 5, 6].map(Ref::new);
        Self { catalog, pages, info, fonts: [regular, bold, mono], first_page: 7 }
    }

    /// A page and its content.
    fn page(&self, number: usize) -> (Ref, Ref) {
        let at = self.first_page + 2 * i32::try_from(number).unwrap_or(i32::MAX / 4);
        (Ref::new(at), Ref::new(at + 1))
    }
}

/// The file.
pub(super) fn pdf(paper: Paper, about: &About<'_>, attached: Option<&Attached<'_>>) -> Vec<u8> {
    let (places, contents) = (Places::new(), paper.finish());
    // Behind the last page.
    let (file, spec) = places.page(contents.len());
    let mut pdf = Pdf::new();
    let mut catalog = pdf.catalog(places.catalog);
    catalog.pages(places.pages).lang(TextStr(match about.lang {
        Lang::Fr => "fr",
        Lang::En => "en",
    }));
    if let Some(attached) = attached {
        catalog.names().embedded_files().names().insert(Str(attached.name.as_bytes()), spec);
    }
    drop(catalog);
    let mut described = pdf.document_info(places.info);
    described.title(TextStr(about.title)).author(TextStr(about.author));
    if let Some(date) = date(about.made_at) {
        described.creation_date(date);
    }
    drop(described);
    let count = i32::try_from(contents.len()).unwrap_or(i32::MAX);
    pdf.pages(places.pages).kids((0..contents.len()).map(|number| places.page(number).0)).count(count);
    for (id, (_, name)) in places.fonts.iter().zip(FACES) {
        pdf.type1_font(*id).base_font(Name(name)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    for (number, content) in contents.iter().enumerate() {
        sheet(&mut pdf, &places, number, content);
    }
    if let Some(attached) = attached {
        attach(&mut pdf, (file, spec), attached);
    }
    pdf.finish()
}

fn sheet(pdf: &mut Pdf, places: &Places, number: usize, drawn: &[u8]) {
    let (page, content) = places.page(number);
    let mut sheet = pdf.page(page);
    sheet.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).parent(places.pages).contents(content);
    let mut resources = sheet.resources();
    let mut fonts = resources.fonts();
    for (id, (face, _)) in places.fonts.iter().zip(FACES) {
        fonts.pair(font(face), *id);
    }
    drop(fonts);
    drop(resources);
    drop(sheet);
    pdf.stream(content, drawn);
}

/// Why not compressed: whoever looks into the file with any tool finds what is attached as it was signed.
fn attach(pdf: &mut Pdf, (file, spec): (Ref, Ref), attached: &Attached<'_>) {
    let size = i32::try_from(attached.bytes.len()).unwrap_or(i32::MAX);
    let mut embedded = pdf.embedded_file(file, attached.bytes);
    embedded.subtype(Name(attached.media.as_bytes()));
    embedded.params().size(size);
    drop(embedded);
    let mut named = pdf.indirect(spec).start::<FileSpec<'_>>();
    named.path(Str(attached.name.as_bytes())).unic_file(TextStr(attached.name));
    named.embedded_file_with_unicode(file);
}

fn date(at: Timestamp) -> Option<Date> {
    let text = at.to_string();
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let date = Date::new(text.get(0..4)?.parse().ok()?).month(part(5, 7)?).day(part(8, 10)?);
    Some(
        date.hour(part(11, 13)?)
            .minute(part(14, 16)?)
            .second(part(17, 19)?)
            .utc_offset_hour(0)
            .utc_offset_minute(0),
    )
}

/// Who sells, at the head.
pub(super) fn seller(paper: &mut Paper, merchant: &Merchant) {
    paper.paragraph(&merchant.name, (Face::Bold, 14.0), INK);
    for line in [&merchant.address, &merchant.contact, &merchant.identifiers] {
        if !line.is_empty() {
            paper.down(1.0);
            paper.paragraph(line, (Face::Regular, 9.5), MUTED);
        }
    }
    paper.down(12.0);
    paper.rule();
}
