//! What was measured, round by round, and the table of it: ratios within a round, then the median over the rounds.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::{Outcome, machine};

/// What everything is compared with.
pub(crate) const EMBEDDED: &str = "embedded";
/// The rows, in order.
const ROWS: [(&str, &str); 4] = [
    (EMBEDDED, "one daemon, embedded ledger"),
    ("1", "one node on PostgreSQL"),
    ("2", "two nodes"),
    ("3", "three nodes"),
];

/// Every value of every round.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<String, Vec<f64>>);

impl Table {
    pub(crate) fn put(&mut self, name: impl Into<String>, value: f64) {
        self.0.entry(name.into()).or_default().push(value);
    }

    fn of(&self, name: &str) -> &[f64] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The median of the rounds' ratios.
    fn ratio(&self, of: &str, to: &str) -> f64 {
        median(self.of(of).iter().zip(self.of(to)).map(|(of, to)| of / to).collect())
    }

    pub(crate) fn markdown(&self, how: &str) -> String {
        let mut text = String::from(
            "| | notifications, to the embedded ledger | to the database's own commits | p99, to the embedded ledger | whole \
             sales, to the embedded ledger | processor: daemons | database and others | load |\n|---|---|---|---|---|---|---|---|\n",
        );
        for (row, name) in ROWS {
            let key = |what: &str| format!("{row}/{what}");
            let to = |what: &str| self.ratio(&key(what), &format!("{EMBEDDED}/{what}"));
            let share = |what: &str| 100.0 * median(self.of(&key(what)).to_vec());
            let _ = writeln!(
                text,
                "| {name} | {:.2} | {:.2} | {:.1} | {:.2} | {:.0} % | {:.0} % | {:.0} % |",
                to("rate"),
                self.ratio(&key("rate"), "database"),
                to("p99"),
                to("sales"),
                share("daemons"),
                share("others"),
                share("load"),
            );
        }
        let middle = |name: &str| median(self.of(name).to_vec());
        let _ = write!(
            text,
            "\n{how}; {} cores. The embedded ledger: {:.0} notifications and {:.0} sales a second; the database by itself: {:.0} \
             commits a second.",
            machine::cores(),
            middle(&format!("{EMBEDDED}/rate")),
            middle(&format!("{EMBEDDED}/sales")),
            middle("database"),
        );
        text
    }

    /// Everything was measured, and nothing is nought.
    pub(crate) fn check(&self) -> Outcome<()> {
        for (row, _) in ROWS {
            for what in ["rate", "p99", "sales", "daemons", "load"] {
                if self.of(&format!("{row}/{what}")).iter().all(|value| *value <= 0.0) {
                    return Err(format!("{row}/{what} was not measured").into());
                }
            }
        }
        if self.of("database").is_empty() {
            return Err("the database itself was not measured".into());
        }
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
