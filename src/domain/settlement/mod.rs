//! A CinetPay export against our orders: what we sold and they do not name, what they name and we did not sell, and what
//! both name differently.
//!
//! Theirs is compared by number, whatever the day; ours is looked through for one period. Pure: whoever calls it reads
//! the orders.

mod kinds;
mod spelling;
mod statement;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calendar::Period;
use super::payment::{Payment, Sale};
use super::values::{Currency, OrderId, Timestamp, TransactionId};

pub use kinds::{Kind, Reason};
pub use spelling::Said;
pub use statement::{Fault, Statement, Theirs, Unread};
pub use table::{Fault as TableFault, ROWS_MAX};

/// Findings listed of each kind; more are only counted.
pub const LISTED_MAX: usize = 1_000;
/// So close to the period's ends, a payment may stand in the neighbouring export: the two clocks differ, and we may
/// have heard of it later.
const EDGE: Duration = Duration::from_secs(24 * 3600);
/// Hundredths in a whole unit.
const HUNDREDTHS: u64 = 100;

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Why.
    pub reason: Reason,
    /// The transaction's number.
    pub transaction: String,
    /// The order, if there is one.
    pub order_id: Option<OrderId>,
    /// The line of the export.
    pub line: Option<usize>,
    /// Our amount.
    pub ours: Option<String>,
    /// Theirs.
    pub theirs: Option<String>,
    /// Our status.
    pub status: Option<String>,
    /// When we verified the payment.
    pub paid_at: Option<Timestamp>,
}

/// The findings of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Findings {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most [`LISTED_MAX`].
    pub listed: Vec<Finding>,
}

/// Sums of one currency, in its smallest unit that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Of our sales in the period.
    pub ours: u64,
    /// Of theirs, refused ones aside.
    pub theirs: u64,
    /// Of what both name with the same amount.
    pub agreed: u64,
}

/// The comparison's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether there is nothing to look at.
    pub agrees: bool,
    /// The first day that was looked through.
    pub from: String,
    /// The last one.
    pub to: String,
    /// The clock of both.
    pub zone: String,
    /// Which heading was taken for what.
    pub columns: BTreeMap<String, String>,
    /// Rows read.
    pub rows: usize,
    /// Transactions on which both agree.
    pub agreed: u64,
    /// Sums by currency; rows without one count as the order's.
    pub sums: BTreeMap<Currency, Sums>,
    /// What to look at.
    pub findings: BTreeMap<Kind, Findings>,
    /// Rows that could not be read; at most [`LISTED_MAX`] are listed.
    pub unread: Vec<Unread>,
    /// How many there are.
    pub unread_count: usize,
}

/// What the export says of one number, its rows taken together.
struct Told {
    rows: Vec<Theirs>,
}

impl Told {
    /// The row that decides: a payment first, since "pending, then accepted" is one.
    fn decisive(&self) -> Option<&Theirs> {
        self.rows.iter().find(|row| row.said == Said::Accepted).or_else(|| self.rows.last())
    }
    fn accepted(&self) -> usize {
        self.rows.iter().filter(|row| row.said == Said::Accepted).count()
    }
}

/// A comparison under way.
pub struct Settlement {
    period: Period,
    told: BTreeMap<TransactionId, Told>,
    report: Report,
}

impl Settlement {
    /// Of this export, for a period: the one given, or from its first to its last date. None when it has no dates.
    pub fn new(statement: Statement, given: Option<Period>, zone: super::calendar::Zone) -> Option<Self> {
        let dates = || statement.rows.iter().filter_map(|row| row.at);
        let whole = || Period::new(zone.day(dates().min()?), zone.day(dates().max()?), zone);
        let period = given.or_else(whole)?;
        let unread_count = statement.unread.len();
        let report = Report {
            agrees: false,
            from: period.first.to_string(),
            to: period.last.to_string(),
            zone: period.zone.to_string(),
            columns: statement.columns.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect(),
            rows: statement.rows.len(),
            agreed: 0,
            sums: BTreeMap::new(),
            findings: Kind::ALL.into_iter().map(|kind| (kind, Findings::default())).collect(),
            unread: statement.unread.into_iter().take(LISTED_MAX).collect(),
            unread_count,
        };
        let mut settlement = Self { period, told: BTreeMap::new(), report };
        for row in statement.rows {
            match row.transaction {
                Some(transaction) => {
                    settlement
                        .told
                        .entry(transaction)
                        .or_insert_with(|| Told { rows: Vec::new() })
                        .rows
                        .push(row);
                }
                None => settlement.foreign(&row),
            }
        }
        Some(settlement)
    }

    /// The days whose sales are to be handed to [`Self::ours`].
    pub fn period(&self) -> Period {
        self.period
    }

    /// The numbers whose orders are to be handed to [`Self::theirs`].
    pub fn transactions(&self) -> Vec<TransactionId> {
        self.told.keys().copied().collect()
    }

    /// A number of theirs beside the order that it names, if there is one.
    pub fn theirs(&mut self, transaction: TransactionId, payment: Option<&Payment>) {
        let Some(told) = self.told.get(&transaction) else { return };
        let Some(row) = told.decisive().cloned() else { return };
        let accepted = told.accepted();
        let Some(payment) = payment else {
            if row.said != Said::Refused {
                self.find(Kind::TheirsNotOurs, finding(Reason::UnknownOrder, &row, None));
            }
            return;
        };
        if row.said == Said::Accepted {
            let currency = row.currency.unwrap_or(payment.price.currency());
            self.sums(currency).theirs += units(row.hundredths, currency);
        }
        let sale = payment.sale().filter(|sale| sale.attempt == transaction.attempt);
        match (sale, differs(&row, payment)) {
            (None, _) if row.said == Said::Refused || row.said == Said::Pending => {}
            (None, _) if matches!(row.said, Said::Other(_)) => {
                self.find(Kind::Statuses, finding(Reason::UnknownStatus, &row, Some(payment)));
            }
            (None, _) => {
                let reason = if payment.sale().is_some() { Reason::PaidTwice } else { Reason::NotPaidHere };
                self.find(Kind::TheirsNotOurs, finding(reason, &row, Some(payment)));
            }
            (Some(_), _) if row.said != Said::Accepted => {
                let reason = match row.said {
                    Said::Refused => Reason::RefusedThere,
                    Said::Pending => Reason::PendingThere,
                    Said::Accepted | Said::Other(_) => Reason::UnknownStatus,
                };
                self.find(Kind::Statuses, finding(reason, &row, Some(payment)));
            }
            (Some(_), Some(reason)) => self.find(Kind::Amounts, finding(reason, &row, Some(payment))),
            (Some(_), None) => {
                self.report.agreed += 1;
                self.sums(payment.price.currency()).agreed += payment.price.amount();
            }
        }
        if accepted > 1 {
            self.find(Kind::TheirsNotOurs, finding(Reason::NamedTwice, &row, Some(payment)));
        }
    }

    /// An order of ours; one that was not paid in the period is passed over.
    pub fn ours(&mut self, payment: &Payment) {
        let Some(sale) = payment.sale().filter(|sale| self.period.holds(sale.paid_at)) else { return };
        self.sums(payment.price.currency()).ours += payment.price.amount();
        let transaction = TransactionId { order: payment.id, attempt: sale.attempt };
        if self.told.contains_key(&transaction) {
            return;
        }
        let reason = if self.is_edge(sale) { Reason::MissingAtTheEdge } else { Reason::Missing };
        let found = Finding {
            reason,
            transaction: transaction.to_string(),
            order_id: Some(payment.id),
            line: None,
            ours: Some(ours(payment)),
            theirs: None,
            status: Some(payment.status_name().to_owned()),
            paid_at: Some(sale.paid_at),
        };
        self.find(Kind::OursNotTheirs, found);
    }

    /// The result.
    pub fn finish(mut self) -> Report {
        let report = &mut self.report;
        report.agrees = report.unread_count == 0 && report.findings.values().all(|found| found.count == 0);
        self.report
    }

    fn is_edge(&self, sale: &Sale) -> bool {
        self.period.end().since(sale.paid_at) < EDGE || sale.paid_at.since(self.period.start()) < EDGE
    }

    fn foreign(&mut self, row: &Theirs) {
        if row.said == Said::Accepted
            && let Some(currency) = row.currency
        {
            self.sums(currency).theirs += units(row.hundredths, currency);
        }
        // What was refused there, or is none of ours and not paid, is nobody's money.
        if row.said == Said::Accepted || matches!(row.said, Said::Other(_)) {
            self.find(Kind::TheirsNotOurs, finding(Reason::NotOurNumber, row, None));
        }
    }

    fn sums(&mut self, currency: Currency) -> &mut Sums {
        self.report.sums.entry(currency).or_default()
    }

    fn find(&mut self, kind: Kind, finding: Finding) {
        let found = self.report.findings.entry(kind).or_default();
        found.count += 1;
        if found.listed.len() < LISTED_MAX {
            found.listed.push(finding);
        }
    }
}

/// Whether the export names another amount or currency than the order's.
fn differs(row: &Theirs, payment: &Payment) -> Option<Reason> {
    match () {
        () if row.currency.is_some_and(|currency| currency != payment.price.currency()) => {
            Some(Reason::Currency)
        }
        () if row.hundredths != hundredths(payment) => Some(Reason::Amount),
        () => None,
    }
}

fn hundredths(payment: &Payment) -> u64 {
    let per_unit = if payment.price.currency().decimals() == 0 { HUNDREDTHS } else { 1 };
    payment.price.amount().saturating_mul(per_unit)
}

fn units(hundredths: u64, currency: Currency) -> u64 {
    if currency.decimals() == 0 { hundredths / HUNDREDTHS } else { hundredths }
}

fn ours(payment: &Payment) -> String {
    format!("{} {}", payment.price.decimal(), payment.price.currency())
}

fn finding(reason: Reason, row: &Theirs, payment: Option<&Payment>) -> Finding {
    let (whole, part) = (row.hundredths / HUNDREDTHS, row.hundredths % HUNDREDTHS);
    let amount = if part == 0 { whole.to_string() } else { format!("{whole}.{part:02}") };
    let theirs = match row.currency {
        Some(currency) => format!("{amount} {currency}"),
        None => amount,
    };
    Finding {
        reason,
        transaction: row.number.clone(),
        order_id: row.transaction.map(|transaction| transaction.order),
        line: Some(row.line),
        ours: payment.map(ours),
        theirs: Some(theirs),
        status: payment.map(|payment| payment.status_name().to_owned()),
        paid_at: payment.and_then(Payment::sale).map(|sale| sale.paid_at),
    }
}
