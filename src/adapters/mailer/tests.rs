//! What a mail says, and where it goes.

use std::str::FromStr;

use super::*;
use crate::domain::payment::Link;
use crate::domain::values::{Buyer, Currency, Lang, Money, Timestamp};
use crate::ports::Occasion;

mod conversation;
mod occasions;

const ORDER: &str = "01JD0QZ6Y3V9K2M4N6P8R0S2T4";

fn letter(lang: Lang) -> Letter {
    Letter {
        order: OrderId::parse(ORDER).unwrap(),
        buyer: Buyer { email: awa(), name: None, phone: None, lang },
        product: "Guide d'audit – édition complète".to_owned(),
        tier: "Équipe".to_owned(),
        price: Money::price(15_000, Currency::Xof).unwrap(),
        link: Link {
            number: 1,
            issued_at: time("2026-11-23T10:30:00.250Z"),
            expires_at: time("2026-11-26T10:30:00.250Z"),
            max_downloads: 5,
            downloads: 0,
            revoked: false,
        },
        occasion: Occasion::Delivery,
        receipt: None,
    }
}

/// The reminder of the same link, a day before its end.
fn reminder(lang: Lang) -> Letter {
    Letter { occasion: Occasion::Reminder { planned: time("2026-11-25T10:30:00.250Z") }, ..letter(lang) }
}

fn awa() -> Email {
    Email::parse("awa@example.ci").unwrap()
}

fn time(text: &str) -> Timestamp {
    Timestamp::from_str(text).unwrap()
}

fn settings(route: Route) -> Settings {
    Settings {
        route,
        from: Email::parse("ventes@boutique.ci").unwrap(),
        from_name: "Boutique d'Élodie".to_owned(),
        merchant: Merchant {
            name: "Boutique d'Élodie".to_owned(),
            address: "Rue des Jardins, Cocody, Abidjan".to_owned(),
            contact: "+225 07 00 00 00 00".to_owned(),
            identifiers: "RCCM CI-ABJ-2020-B-1234".to_owned(),
        },
        reply_to: Some(Email::parse("aide@boutique.ci").unwrap()),
        bounce_to: None,
        fallback: None,
        per_hour: 0,
        attach_receipt: false,
        public_url: Url::parse("https://boutique.ci/audit/").unwrap(),
        timeout: Duration::from_secs(5),
        connections_max: 2,
    }
}

fn postman(settings: Settings) -> Postman {
    Postman::new(settings, Arc::new(Links::new("secret of the tests", []))).unwrap()
}

/// The raw mail of `letter` under `settings`, in memory.
async fn written(mut settings: Settings, letter: Letter) -> String {
    let list = Arc::default();
    settings.route = Route::Memory(Arc::clone(&list));
    assert_eq!(postman(settings).send(letter).await, Posted::Accepted);
    let parcel = list.lock().unwrap().pop().unwrap();
    assert_eq!(parcel.order.to_string(), ORDER);
    String::from_utf8(parcel.raw).unwrap()
}

async fn written_plainly(letter: Letter) -> String {
    written(settings(Route::File(PathBuf::new())), letter).await
}

fn headers(raw: &str) -> &str {
    raw.split_once("\r\n\r\n").unwrap().0
}

/// RFC 2045 quoted-printable, strictly: whatever else is in it fails the test.
fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let joined = text.replace("=\r\n", "");
    let mut rest = joined.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        assert!(byte.is_ascii_graphic() || b" \r\n".contains(&byte), "byte {byte} is bare");
        if byte == b'=' {
            out.extend(hex::decode(&tail[..2]).unwrap());
            rest = &tail[2..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(out).unwrap()
}

/// The whole mail with its parts decoded, no-break spaces made visible.
fn readable(raw: &str) -> String {
    decoded_parts(raw).join("\n----\n").replace("\r\n", "\n").replace('\u{202f}', "⍽").replace('\u{a0}', "·")
}

/// Headers, text, HTML.
fn decoded_parts(raw: &str) -> Vec<String> {
    let name = raw.split_once("Message-ID: <").and_then(|(_, rest)| rest.split('@').next()).unwrap();
    let fence = format!("--=_{name}");
    let (body, end) = raw.rsplit_once(&format!("{fence}--")).unwrap();
    assert_eq!(end, "\r\n");
    let opening = format!("{fence}\r\n");
    let mut parts = body.split(&opening);
    let mut all = vec![parts.next().unwrap().to_owned()];
    for part in parts {
        let (head, text) = part.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Transfer-Encoding: quoted-printable"), "{head}");
        assert!(text.lines().all(|line| line.len() <= 76), "a line is too long");
        all.push(format!("{head}\n\n{}", decoded(text)));
    }
    assert_eq!(all.len(), 3);
    all
}

#[tokio::test]
async fn the_mail_in_french() {
    insta::assert_snapshot!("delivery_fr", readable(&written_plainly(letter(Lang::Fr)).await));
}

#[tokio::test]
async fn the_mail_in_english() {
    let mut letter = letter(Lang::En);
    letter.price = Money::price(1_250, Currency::Usd).unwrap();
    letter.link.max_downloads = 1;
    letter.tier = String::new();
    let settings = Settings { reply_to: None, ..settings(Route::File(PathBuf::new())) };
    insta::assert_snapshot!("delivery_en", readable(&written(settings, letter).await));
}

#[tokio::test]
async fn equal_letters_make_identical_mails_and_other_links_others() {
    let first = written_plainly(letter(Lang::Fr)).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(written_plainly(letter(Lang::Fr)).await, first);
    let mut reissued = letter(Lang::Fr);
    reissued.link.number = 2;
    let second = written_plainly(reissued).await;
    assert!(first.contains(&format!("Message-ID: <{ORDER}.1@boutique.ci>\r\n")));
    assert!(second.contains(&format!("Message-ID: <{ORDER}.2@boutique.ci>\r\n")));
}

#[tokio::test]
async fn the_mailed_link_is_read_as_this_order_s() {
    let raw = written_plainly(letter(Lang::Fr)).await;
    let parts = decoded_parts(&raw);
    let [_, text, html] = &parts[..] else { panic!("three parts") };
    let line = text.lines().find(|line| line.starts_with("https://")).unwrap();
    let token = line.strip_prefix("https://boutique.ci/audit/download/").unwrap().strip_suffix('/').unwrap();
    let links = Links::new("secret of the tests", []);
    let issued = time("2026-11-23T10:30:00Z").seconds() as u64;
    let claim = links.read_download(token, issued).unwrap();
    assert_eq!((claim.order.as_str(), claim.link, claim.issued_at), (ORDER, 1, issued));
    // The button, and the plain link in its address and its text.
    assert_eq!(html.matches(line).count(), 3);
}

#[tokio::test]
async fn nothing_is_fetched_and_no_machine_answers() {
    for lang in [Lang::Fr, Lang::En] {
        let raw = written_plainly(letter(lang)).await;
        assert!(raw.is_ascii());
        let parts = decoded_parts(&raw).concat();
        for remote in ["<img", "<link", "<style", "<script", "url(", "src="] {
            assert!(!parts.contains(remote), "{remote}");
        }
        assert!(headers(&raw).contains("\r\nAuto-Submitted: auto-generated\r\n"));
        assert!(headers(&raw).contains("\r\nX-Auto-Response-Suppress: All\r\n"));
        assert!(!headers(&raw).contains("List-"));
    }
}

#[tokio::test]
async fn no_name_makes_a_header_or_markup() {
    let evil = "A\r\nBcc: spy@evil.ci\r\n\r\n<script>alert(1)</script>\u{2028}\u{202e}é";
    let mut letter = letter(Lang::Fr);
    letter.product = evil.to_owned();
    letter.tier = format!("{evil}{}", "x".repeat(5000));
    let merchant = Merchant {
        name: evil.to_owned(),
        address: evil.to_owned(),
        contact: evil.to_owned(),
        identifiers: evil.to_owned(),
    };
    let settings = Settings { from_name: evil.to_owned(), merchant, ..settings(Route::File(PathBuf::new())) };
    let raw = written(settings, letter).await;
    let names: Vec<&str> = headers(&raw)
        .split("\r\n")
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split_once(": ").unwrap().0)
        .collect();
    let want = [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "Content-Language",
        "Reply-To",
        "MIME-Version",
        "Content-Type",
    ];
    assert_eq!(names, want);
    assert!(headers(&raw).split("\r\n").all(|line| line.len() < 200), "a header is too long");
    let parts = decoded_parts(&raw);
    assert!(!parts[2].contains("<script"));
    assert!(parts[1].lines().all(|line| !line.starts_with("Bcc")), "a name has lines of its own");
}

#[tokio::test]
async fn an_address_without_a_domain_leaves_the_message_id_to_the_sender_s() {
    let settings = Settings {
        public_url: Url::parse("http://127.0.0.1:8080").unwrap(),
        from_name: String::new(),
        ..settings(Route::File(PathBuf::new()))
    };
    let raw = written(settings, letter(Lang::Fr)).await;
    assert!(raw.contains(&format!("Message-ID: <{ORDER}.1@boutique.ci>\r\n")));
    assert!(raw.starts_with("From: ventes@boutique.ci\r\n"));
    assert!(decoded_parts(&raw)[1].contains("\r\nhttp://127.0.0.1:8080/download/"));
}

#[tokio::test]
async fn a_folder_holds_whole_mails_only() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("not/yet/there");
    let postman = postman(settings(Route::File(inner.clone())));
    assert_eq!(postman.send(letter(Lang::Fr)).await, Posted::Accepted);
    assert_eq!(postman.send(letter(Lang::Fr)).await, Posted::Accepted);
    let names: Vec<_> = std::fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [format!("{ORDER}.1.eml").as_str()]);
    let raw = std::fs::read_to_string(inner.join(&names[0])).unwrap();
    assert_eq!(raw, written_plainly(letter(Lang::Fr)).await);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_tried_again_later() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let postman = postman(settings(Route::File(file.path().join("below a file"))));
    let posted = postman.send(letter(Lang::Fr)).await;
    let Posted::Unavailable { reason } = posted else { panic!("{posted:?}") };
    assert!(reason.starts_with("FILE "), "{reason}");
}

#[tokio::test]
async fn memory_is_bounded() {
    let list = Arc::default();
    let postman = postman(settings(Route::Memory(Arc::clone(&list))));
    for _ in 0..=MEMORY_MAILS_MAX {
        assert_eq!(postman.send(letter(Lang::En)).await, Posted::Accepted);
    }
    assert_eq!(list.lock().unwrap().len(), MEMORY_MAILS_MAX);
}

#[test]
fn passwords_are_not_shown() {
    let login = Some(("user".to_owned(), "hunter2".to_owned()));
    let (host, authorities) = ("mail.boutique.ci".to_owned(), None);
    let server = SmtpServer { host, port: 587, tls: Tls::Required, login, authorities };
    let settings = settings(Route::Smtp(server));
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(!format!("{:?}", postman(settings)).contains("hunter2"));
}

proptest::proptest! {
    /// An order is taken only for an address that a mail can be written to: whoever paid gets the link.
    #[test]
    fn every_address_we_take_can_be_written_to(text in proptest::prop_oneof![
        "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]{1,30}@[a-zA-Z0-9.-]{1,20}\\.[a-zA-Z0-9-]{1,6}", "[!-~]{1,20}@[!-~]{1,20}", "[a-z]{1,70}@[a-z]{1,70}(\\.[a-z]{1,70}){1,3}",
    ]) {
        if let Ok(email) = Email::parse(&text) {
            proptest::prop_assert!(email.expose().parse::<lettre::Address>().is_ok(), "{}", text);
        }
    }
}
