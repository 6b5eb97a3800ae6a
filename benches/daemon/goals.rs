//! The goals, as data, and the tables that a run ends with.

use std::fmt::Write;
use std::path::Path;

use crate::Outcome;
use crate::machine::FOREIGN_SHARE_MAX;
use crate::sheet::{ROUNDS_MIN, Sheet};

/// A file that holds both gets the report between them.
const MARK_BEGIN: &str = "<!-- measured: begin -->";
const MARK_END: &str = "<!-- measured: end -->";

/// Where a goal's figure comes from.
enum Figure {
    /// The median of one name's values.
    Of(&'static str),
    /// The median of the rounds' ratios of two names.
    Ratio(&'static str, &'static str),
}

impl Figure {
    /// Whether a busy machine changes it. Memory, disk and threads are the same on one.
    fn is_time(&self) -> bool {
        match self {
            Of(name) => name.starts_with("ready/"),
            Ratio(..) => true,
        }
    }

    fn value(&self, sheet: &Sheet) -> Option<f64> {
        match self {
            Of(name) => sheet.median(name),
            Ratio(of, to) => sheet.ratio(of, to),
        }
    }

    fn rounds(&self, sheet: &Sheet) -> usize {
        match self {
            Of(name) => sheet.rounds(name),
            Ratio(of, to) => sheet.rounds(of).min(sheet.rounds(to)),
        }
    }
}

/// On which side of the bound it is good to be.
enum Bound {
    AtLeast,
    AtMost,
}
use Bound::{AtLeast, AtMost};
use Figure::{Of, Ratio};

/// What, figure, bound, the goal, what was hoped for.
type Goal = (&'static str, Figure, Bound, f64, Option<f64>);

const GOALS: &[Goal] = &[
    (
        "durable webhook, all different, 256 connections, req/s against bare",
        Ratio("daemon/256/rate", "bare/256/rate"),
        AtLeast,
        0.50,
        Some(0.65),
    ),
    (
        "same, server CPU per request against bare",
        Ratio("daemon/256/cpu", "bare/256/cpu"),
        AtMost,
        2.4,
        Some(1.8),
    ),
    ("same, p99 against bare", Ratio("daemon/256/p99", "bare/256/p99"), AtMost, 1.8, Some(1.3)),
    ("duplicates against bare", Ratio("duplicates/256/rate", "bare/256/rate"), AtLeast, 0.90, Some(0.97)),
    ("against raw", Ratio("daemon/256/rate", "raw/256/rate"), AtLeast, 0.65, Some(0.90)),
    ("whole sales/s against raw webhooks/s", Ratio("sales/rate", "raw/256/rate"), AtLeast, 0.03, Some(0.06)),
    ("against Django + SQLite", Ratio("daemon/64/rate", "django/64/rate"), AtLeast, 50.0, Some(100.0)),
    ("against PHP-FPM + SQLite", Ratio("daemon/64/rate", "php/64/rate"), AtLeast, 12.0, Some(25.0)),
    (
        "1 000 000 orders in the ledger against none, req/s",
        Ratio("million/256/rate", "daemon/256/rate"),
        AtLeast,
        0.90,
        Some(0.98),
    ),
    ("RSS idle, MiB", Of("idle/rss"), AtMost, 16.0, Some(10.0)),
    (
        "RSS under load, 256 connections, different orders, MiB",
        Of("daemon/256/rss"),
        AtMost,
        64.0,
        Some(48.0),
    ),
    ("RSS with 1 000 000 orders stored, MiB", Of("million/idle/rss"), AtMost, 128.0, Some(64.0)),
    ("threads", Of("daemon/256/threads"), AtMost, 16.0, None),
    ("disk per order, whole life, KiB", Of("disk/order"), AtMost, 4.0, Some(2.0)),
    ("start to ready, empty, ms", Of("ready/empty"), AtMost, 50.0, Some(20.0)),
    ("start to ready, 100 000 orders, ms", Of("ready/100k"), AtMost, 300.0, Some(100.0)),
    ("start to ready, 1 000 000 orders, ms", Of("ready/1m"), AtMost, 2000.0, Some(500.0)),
    ("stripped release binary, MB", Of("binary/mb"), AtMost, 10.0, Some(7.0)),
    (
        "file download, 1 connection, 1 GiB, against nginx sendfile",
        Ratio("download/daemon", "download/nginx"),
        AtLeast,
        0.5,
        Some(0.8),
    ),
];

/// Variants in the order of the table, with what they are.
const VARIANTS: &[(&str, &str)] = &[
    ("bare", "warp, form, HMAC, 200"),
    ("raw", "bare + log with group commit"),
    ("daemon", "the daemon, orders all different"),
    ("quiet", "the same, `AUDITSHIELD_LOG=warn`"),
    ("duplicates", "the daemon, the same 16 orders"),
    ("million", "the daemon, 1 000 000 orders stored"),
    ("django", "nginx + gunicorn + Django + SQLite"),
    ("php", "nginx + PHP-FPM + SQLite"),
];

/// The whole report in Markdown.
pub(crate) fn report(sheet: &Sheet, how: &str, machine: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Run: {how}. Machine: {machine}.\n");
    let (all, disturbed, worst) = sheet.disturbance();
    let _ = writeln!(
        text,
        "Of {all} measurements {disturbed} were disturbed: others took more than {:.0} % of the cores.{}\n",
        FOREIGN_SHARE_MAX * 100.0,
        worst.map_or(String::new(), |(name, share)| format!(" The worst: {name}, {:.1} %.", share * 100.0)),
    );
    loads(sheet, &mut text);
    extras(sheet, &mut text);
    goals(sheet, &mut text);
    text
}

/// Requests per second and what they cost, by variant, connections and loop.
fn loads(sheet: &Sheet, text: &mut String) {
    let head = "| variant | connections | req/s (least–most) | to bare | to raw | p50 ms | p99 ms | p99 to bare | CPU µs | CPU to bare | RSS MiB | threads |";
    let _ = writeln!(text, "{head}\n|---|---|---|---|---|---|---|---|---|---|---|---|");
    for connections in ["64", "256", "256/open"] {
        for (variant, meaning) in VARIANTS {
            let name = |key: &str| format!("{variant}/{connections}/{key}");
            let Some(rate) = sheet.median(&name("rate")) else { continue };
            let (least, most) = sheet.range(&name("rate")).unwrap_or_default();
            let to = |other: &str, key: &str| {
                ratio(sheet.ratio(&name(key), &format!("{other}/{connections}/{key}")))
            };
            let of = |key: &str, digits| number(sheet.median(&name(key)), digits);
            let label = match connections {
                "256/open" => "256, fixed rate",
                closed => closed,
            };
            let _ = writeln!(
                text,
                "| **{variant}**: {meaning} | {label} | {rate:.0} ({least:.0}–{most:.0}) | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                to("bare", "rate"),
                to("raw", "rate"),
                of("p50", 2),
                of("p99", 2),
                to("bare", "p99"),
                of("cpu", 1),
                to("bare", "cpu"),
                of("rss", 1),
                of("threads", 0),
            );
        }
    }
    let _ = writeln!(text);
}

/// Single figures with what they are: name of the value, words, digits.
const EXTRAS: &[(&str, &str, usize)] = &[
    ("sales/rate", "whole sales per second", 0),
    ("sales/cpu", "daemon's CPU per whole sale, µs", 0),
    ("sales/world_cpu", "CPU of CinetPay and mailbox per whole sale, µs", 0),
    ("sales/rss", "RSS during sales, MiB", 1),
    ("sales/threads", "threads during sales", 0),
    ("download/daemon", "download, the daemon, MiB/s", 0),
    ("download/nginx", "download, nginx, MiB/s", 0),
    ("disk/journal", "disk per order, journal, bytes", 0),
    ("disk/index", "disk per order, index, bytes", 0),
    ("million/256/rss", "RSS with 1 000 000 orders stored, under load, MiB", 1),
];

fn extras(sheet: &Sheet, text: &mut String) {
    let found: Vec<_> = EXTRAS.iter().filter(|(name, _, _)| sheet.rounds(name) > 0).collect();
    if found.is_empty() {
        return;
    }
    let _ = writeln!(text, "| figure | median | least–most | rounds |\n|---|---|---|---|");
    for (name, words, digits) in found {
        let (least, most) = sheet.range(name).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {words} | {} | {least:.digits$}–{most:.digits$} | {} |",
            number(sheet.median(name), *digits),
            sheet.rounds(name)
        );
    }
    let _ = writeln!(text);
}

fn goals(sheet: &Sheet, text: &mut String) {
    let _ = writeln!(text, "| what | goal | hoped for | measured | verdict |\n|---|---|---|---|---|");
    for (what, figure, bound, goal, hoped) in GOALS {
        let (value, rounds) = (figure.value(sheet), figure.rounds(sheet));
        let (sign, reached): (_, fn(f64, f64) -> bool) = match bound {
            AtLeast => ("≥", |value, goal| value >= goal),
            AtMost => ("≤", |value, goal| value <= goal),
        };
        let verdict = match value {
            None => "not measured",
            Some(_) if !sheet.is_quiet() && figure.is_time() => "refused: the machine was busy",
            Some(_) if rounds < ROUNDS_MIN => "refused: too few rounds",
            Some(value) if hoped.is_some_and(|hoped| reached(value, hoped)) => "met, as hoped for",
            Some(value) if reached(value, *goal) => "met",
            Some(_) => "**missed**",
        };
        let plain = |value: &f64| format!("{value}");
        let _ = writeln!(
            text,
            "| {what} | {sign} {} | {} | {} | {verdict} |",
            plain(goal),
            hoped.as_ref().map_or(String::new(), plain),
            ratio(value),
        );
    }
}

/// Writes the report to a file: between its marks where it has them, else as the whole of it.
pub(crate) fn publish(path: &Path, report: &str) -> Outcome<()> {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let whole = match (old.split_once(MARK_BEGIN), old.split_once(MARK_END)) {
        (Some((before, _)), Some((_, after))) => {
            format!("{before}{MARK_BEGIN}\n\n{}\n\n{MARK_END}{after}", report.trim())
        }
        _ => report.to_owned(),
    };
    Ok(std::fs::write(path, whole)?)
}

/// The goals that nothing was measured for, by what they say.
pub(crate) fn unmeasured(sheet: &Sheet) -> Vec<&'static str> {
    GOALS.iter().filter(|goal| goal.1.value(sheet).is_none()).map(|goal| goal.0).collect()
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}

/// Three digits that count.
fn ratio(value: Option<f64>) -> String {
    let digits = value.map_or(2, |value| {
        if value < 0.1 {
            4
        } else if value < 10.0 {
            2
        } else {
            0
        }
    });
    number(value, digits)
}
