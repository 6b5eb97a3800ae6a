//! /admin/settlement/: CinetPay's export beside our orders.

use askama::Template;
use bytes::Bytes;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderName};
use warp::reply::Response;

use super::super::desk::Desk;
use super::super::view::status_words;
use super::super::{Office, strange_form};
use super::walk::{By, Walk};
use super::{of_query, period};
use crate::domain::calendar::{Period, Zone};
use crate::domain::settlement::{Fault, Finding, Kind, ROWS_MAX, Report, Settlement, Statement, TableFault};
use crate::domain::values::Lang;
use crate::domain::words;
use crate::http::answer::{self, Problem};
use crate::http::call::{Call, Fields};
use crate::http::multipart::Parts;

/// Largest export, in bytes: some forty thousand payments.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long it may take to arrive, in seconds.
const FILE_SECONDS_MAX: u64 = 120;
/// Room for the other fields of its form, in bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// Headings of theirs that are shown when none of them is known.
const HEADINGS_SHOWN: usize = 12;
const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
/// The clock of dates without a zone: CinetPay documents none, its examples fit UTC.
const THEIR_ZONE: Zone = Zone::UTC;

#[derive(Template)]
#[template(path = "admin_settlement.html")]
struct Page {
    desk: Desk,
    message: String,
    zone: String,
    report: Option<Shown>,
}

/// A report in words.
struct Shown {
    agrees: bool,
    lead: String,
    columns: String,
    sums: Vec<(String, String, String, String)>,
    lists: Vec<List>,
    unread: Vec<(usize, String, String)>,
    unread_count: usize,
}

struct List {
    heading: &'static str,
    count: u64,
    more: bool,
    rows: Vec<ListRow>,
}

struct ListRow {
    transaction: String,
    order: String,
    reason: &'static str,
    line: String,
    ours: String,
    theirs: String,
    paid: String,
}

/// What was sent, whichever way.
struct Sent {
    csrf: Option<String>,
    file: Bytes,
    from: Option<String>,
    to: Option<String>,
}

/// The form.
pub(super) fn form(office: &Office, desk: &Desk) -> Response {
    let zone = office.deps.settings.zone.to_string();
    let page = Page { desk: desk.clone(), message: String::new(), zone, report: None };
    answer::page(StatusCode::OK, &page)
}

/// POST: the comparison.
pub(super) async fn compare(office: &Office, call: &mut Call, desk: &Desk) -> Result<Response, Problem> {
    let sent = sent(call).await?;
    if let Some(session) = desk.session()
        && sent.csrf.as_deref() != Some(session.csrf.as_str())
    {
        return Err(strange_form());
    }
    let zone = office.deps.settings.zone;
    let get = |name: &str| if name == "from" { sent.from.clone() } else { sent.to.clone() };
    let outcome = match period(&get, zone) {
        Ok(period) => report(office, sent.file, period).await,
        Err(problem) => Err(problem),
    };
    if call.accepts_json() {
        return outcome.map(|report| answer::json(StatusCode::OK, &report));
    }
    // The answer to a form stands at an address that a language switch would leave.
    let desk = desk.clone().switching("/admin/settlement/?".to_owned());
    let (lang, zone) = (desk.lang(), zone.to_string());
    match outcome {
        Ok(report) => {
            let report = Some(shown(&desk, &report));
            Ok(answer::page(StatusCode::OK, &Page { desk, message: String::new(), zone, report }))
        }
        Err(problem) => {
            let message = problem.text(lang).to_owned();
            let page = Page { desk, message, zone, report: None };
            Ok(problem.finish(answer::page(problem.status, &page)))
        }
    }
}

/// A form with a file, a form with a pasted text, or the bare file.
async fn sent(call: &mut Call) -> Result<Sent, Problem> {
    let full = call.header(&CONTENT_TYPE).unwrap_or_default().to_owned();
    let media = call.content_type().unwrap_or_default();
    let body = call.body_within(FILE_BYTES_MAX + FORM_BYTES_MAX, FILE_SECONDS_MAX).await?;
    let unreadable = || Problem::bad_request("Le formulaire est illisible.", "The form is unreadable.");
    let own = |text: Option<&str>| text.map(str::to_owned);
    let sent = match media.as_str() {
        "multipart/form-data" => {
            let parts = Parts::parse(&full, &body).ok_or_else(unreadable)?;
            let file = parts.bytes("file").or_else(|| parts.bytes("pasted")).cloned().unwrap_or_default();
            Sent {
                csrf: own(parts.get("csrf")),
                file,
                from: own(parts.get("from")),
                to: own(parts.get("to")),
            }
        }
        "application/x-www-form-urlencoded" => {
            let fields = Fields::parse(&body).ok_or_else(unreadable)?;
            let file = Bytes::from(fields.get("pasted").unwrap_or_default().to_owned());
            Sent {
                csrf: own(fields.get("csrf")),
                file,
                from: own(fields.get("from")),
                to: own(fields.get("to")),
            }
        }
        _ => {
            let fields = call.query();
            let get = of_query(&fields);
            let csrf = own(call.header(&X_CSRF_TOKEN));
            Sent { csrf, file: body, from: get("from"), to: get("to") }
        }
    };
    if sent.file.len() > FILE_BYTES_MAX { Err(Problem::too_large()) } else { Ok(sent) }
}

/// Reads the file, looks up what it names, then walks over what we sold.
async fn report(office: &Office, file: Bytes, given: Option<Period>) -> Result<Report, Problem> {
    let zone = office.deps.settings.zone;
    let ledger = office.deps.ledger.clone();
    let begun = super::super::api::read(move || {
        let statement = match Statement::read(&file, THEIR_ZONE) {
            Ok(statement) => statement,
            Err(fault) => return Ok(Err(unreadable(&fault))),
        };
        let Some(mut settlement) = Settlement::new(statement, given, zone) else { return Ok(Err(undated())) };
        for transaction in settlement.transactions() {
            settlement.theirs(transaction, ledger.load(transaction.order)?.as_ref());
        }
        Ok(Ok(settlement))
    });
    let mut settlement = begun.await??;
    let mut walk = Walk::begin(office, By::Paid, settlement.period())?;
    while let Some(orders) = walk.page().await? {
        for payment in &orders {
            settlement.ours(payment);
        }
    }
    tracing::info!("an export of CinetPay was compared");
    Ok(settlement.finish())
}

fn unreadable(fault: &Fault) -> Problem {
    let (fr, en) = match fault {
        Fault::Table(TableFault::Empty) => {
            ("Le fichier est vide.".to_owned(), "The file is empty.".to_owned())
        }
        Fault::Table(TableFault::Quote(line)) => (
            format!("Ligne {line} : un guillemet n’est jamais refermé."),
            format!("Line {line}: a quote is never closed."),
        ),
        Fault::Table(TableFault::Rows) => (
            format!("Plus de {ROWS_MAX} lignes : exportez une période plus courte."),
            format!("More than {ROWS_MAX} rows: export a shorter period."),
        ),
        Fault::Table(TableFault::Wide(line)) => (
            format!("Ligne {line} : bien trop de colonnes pour un relevé."),
            format!("Line {line}: far too many columns for an export."),
        ),
        Fault::Table(TableFault::Binary) => (
            "Ce n’est pas un fichier CSV. Dans le tableur, « Enregistrer sous » puis « CSV ».".to_owned(),
            "This is no CSV file. In the spreadsheet, “Save as”, then “CSV”.".to_owned(),
        ),
        Fault::Headings(seen) => {
            let seen = seen.iter().take(HEADINGS_SHOWN).cloned().collect::<Vec<_>>().join(" | ");
            (
                format!("Il manque une colonne « transaction » ou « montant ». Colonnes lues : {seen}"),
                format!("There is no “transaction” or “amount” column. Columns read: {seen}"),
            )
        }
    };
    Problem::bad_request(&fr, &en)
}

fn undated() -> Problem {
    Problem::field(
        "from",
        "Le relevé ne porte pas de dates : indiquez la période (premier et dernier jour).",
        "The export has no dates: give the period (first and last day).",
    )
}

fn shown(desk: &Desk, report: &Report) -> Shown {
    let lang = desk.lang();
    let day = |text: &str| text.parse().map_or_else(|_| text.to_owned(), |day| words::day(day, lang));
    let (from, to) = (day(&report.from), day(&report.to));
    let say = |fr: String, en: String| if lang == Lang::Fr { fr } else { en };
    let sums = report.sums.iter().map(|(currency, sums)| {
        (
            currency.to_string(),
            words::sum(sums.ours, *currency, lang),
            words::sum(sums.theirs, *currency, lang),
            words::sum(sums.agreed, *currency, lang),
        )
    });
    let lists = Kind::ALL.into_iter().filter_map(|kind| {
        let found = report.findings.get(&kind)?;
        let listed = u64::try_from(found.listed.len()).unwrap_or(u64::MAX);
        let rows = found.listed.iter().map(|one| row(desk, one)).collect();
        Some(List { heading: kind.heading(lang), count: found.count, more: found.count > listed, rows })
    });
    let columns = report.columns.iter().map(|(ours, theirs)| format!("{} = {theirs}", column(ours, lang)));
    Shown {
        agrees: report.agrees,
        lead: say(
            format!(
                "Lignes lues : {}. Transactions d’accord : {}. Ventes payées du {} au {} compris ({}).",
                report.rows, report.agreed, from, to, report.zone
            ),
            format!(
                "Rows read: {}. Transactions agreed: {}. Sales paid from {} to {} inclusive ({}).",
                report.rows, report.agreed, from, to, report.zone
            ),
        ),
        columns: columns.collect::<Vec<_>>().join(" · "),
        sums: sums.collect(),
        lists: lists.collect(),
        unread: report
            .unread
            .iter()
            .map(|one| (one.line, column(&one.column, lang).to_owned(), one.text.clone()))
            .collect(),
        unread_count: report.unread_count,
    }
}

/// What a column is called here.
fn column(name: &str, lang: Lang) -> &str {
    match (lang, name) {
        (Lang::Fr, "amount") => "montant",
        (Lang::Fr, "currency") => "devise",
        (Lang::Fr, "status") => "statut",
        (Lang::Fr | Lang::En, name) => name,
    }
}

fn row(desk: &Desk, finding: &Finding) -> ListRow {
    let lang = desk.lang();
    let money = |text: &Option<String>| {
        text.as_deref().map_or_else(|| "–".to_owned(), |text| words::figure(text, lang))
    };
    let status = finding.status.as_deref().map(|status| format!(" · {}", status_words(desk, status)));
    ListRow {
        transaction: finding.transaction.clone(),
        // A number without an order leads nowhere.
        order: finding.status.as_ref().and(finding.order_id).map(|id| id.to_string()).unwrap_or_default(),
        reason: finding.reason.words(lang),
        line: finding.line.map(|line| line.to_string()).unwrap_or_default(),
        ours: format!("{}{}", money(&finding.ours), status.unwrap_or_default()),
        theirs: money(&finding.theirs),
        paid: finding.paid_at.map(|at| desk.short_moment(at)).unwrap_or_default(),
    }
}
