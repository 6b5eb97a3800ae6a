//! What the smoke test checks beside "it ran": the arithmetic that verdicts rest on, and that nothing was left out.

use crate::sheet::Sheet;
use crate::wire::Head;
use crate::{Outcome, goals, machine};

/// Goals that a smoke test does not measure: large stores, and peers that may not be installed.
const NOT_IN_SMOKE: &[&str] = &[
    "against Django + SQLite",
    "against PHP-FPM + SQLite",
    "start to ready, 100 000 orders, ms",
    "start to ready, 1 000 000 orders, ms",
];

/// An answer as it comes, and what its head says: status and bytes of the whole.
const HEADS: &[(&str, Option<(u16, usize)>)] = &[
    ("HTTP/1.1 200 OK\r\ncontent-le", None),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nO", Some((200, 40))),
    ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Some((503, 55))),
    ("HTTP/1.0 400 Bad Request\r\n\r\n", Some((400, 28))),
];

/// Values of the rounds, and their median.
const MEDIANS: &[(&[f64], Option<f64>)] =
    &[(&[], None), (&[3.0], Some(3.0)), (&[9.0, 1.0], Some(5.0)), (&[5.0, 100.0, 1.0], Some(5.0))];

/// Before anything is measured.
pub(crate) fn arithmetic() -> Outcome<()> {
    for (answer, want) in HEADS {
        let got = Head::read(answer.as_bytes()).map(|head| (head.status, head.bytes));
        same(&format!("{answer:?}"), got, *want)?;
    }
    for (values, want) in MEDIANS {
        let mut sheet = Sheet::default();
        for (round, value) in values.iter().enumerate() {
            sheet.begin(round);
            sheet.put("x", *value);
        }
        same(&format!("{values:?}"), sheet.median("x"), *want)?;
    }
    // A round is four times as slow as another, which the ratio must not see; the one between has no base and must not count.
    let mut sheet = Sheet::default();
    for (round, (base, value)) in [(Some(8.0), 4.0), (None, 1000.0), (Some(2.0), 1.0)].into_iter().enumerate()
    {
        sheet.begin(round);
        base.into_iter().for_each(|base| sheet.put("base", base));
        sheet.put("value", value);
    }
    same("a ratio of rounds", sheet.ratio("value", "base"), Some(0.5))?;
    same("rounds", sheet.rounds("value"), 3)?;
    let share = machine::FOREIGN_SHARE_MAX;
    for (disturbed, quiet) in [(0, true), (2, true), (3, false)] {
        let mut sheet = Sheet::default();
        for n in 0..10 {
            sheet.disturbed("x", if n < disturbed { share * 1.01 } else { share });
        }
        same(&format!("{disturbed} of 10 disturbed"), sheet.is_quiet(), quiet)?;
    }
    same("nothing measured", Sheet::default().is_quiet(), false)
}

/// After everything was.
pub(crate) fn whole(sheet: &Sheet) -> Outcome<()> {
    let missing: Vec<_> =
        goals::unmeasured(sheet).into_iter().filter(|what| !NOT_IN_SMOKE.contains(what)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not measured: {}", missing.join("; ")).into()) }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Outcome<()> {
    if got == want { Ok(()) } else { Err(format!("{what}: {got:?} instead of {want:?}").into()) }
}
