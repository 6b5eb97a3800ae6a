//! What a CinetPay export says: which column is what, and each row as values.
//!
//! Nothing public shows CinetPay's export, and its columns vary. So the headings are found by name, in French or English,
//! whatever their case, accents and punctuation; where none names the transaction, the column that holds our numbers does.

use serde::{Deserialize, Serialize};

use super::spelling::{Said, currency, folded, hundredths, moment, said};
use super::table::{self, Cells, Fault as TableFault};
use crate::domain::calendar::Zone;
use crate::domain::values::{Currency, Timestamp, TransactionId};

/// Rows in which the headings are looked for: some exports begin with a title.
const HEADING_ROWS_MAX: usize = 20;
/// Longest text of theirs that is shown again, in characters.
const SHOWN_CHARS_MAX: usize = 80;

const TRANSACTION: &str = "transactionid cpmtransid idtransaction identifianttransaction identifiantdelatransaction \
    numerotransaction numerodetransaction ndetransaction ntransaction transid transaction \
    merchanttransactionid merchantreference referencemarchand referencetransaction \
    referencedelatransaction transactionreference reference ref idcommande commande orderid";
const AMOUNT: &str = "amount montant cpmamount montantpaye montanttransaction montantdelatransaction montantbrut \
    grossamount amountpaid transactionamount montantttc montantinitial";
const CURRENCY: &str = "currency devise monnaie cpmcurrency currencycode codedevise";
const STATUS: &str =
    "status statut etat state cpmtransstatus transactionstatus statutdelatransaction resultat";
const DATE: &str = "paymentdate datepaiement datedepaiement datedupaiement cpmtransdate cpmpaymentdate transactiondate \
    datetransaction datedetransaction datedelatransaction date dateheure datetime createdat datecreation \
    datedecreation creationdate";

/// One row of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theirs {
    /// Its line in the file.
    pub line: usize,
    /// Their number for it, as written.
    pub number: String,
    /// The same, if it is one of ours.
    pub transaction: Option<TransactionId>,
    /// The amount, in hundredths of the currency.
    pub hundredths: u64,
    /// The currency, if the file says.
    pub currency: Option<Currency>,
    /// What became of it.
    pub said: Said,
    /// When, if the file says.
    pub at: Option<Timestamp>,
}

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// Its line in the file.
    pub line: usize,
    /// Which column: `transaction`, `amount`, `currency` or `date`.
    pub column: String,
    /// What stands there.
    pub text: String,
}

/// The export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its rows.
    pub rows: Vec<Theirs>,
    /// Rows that could not be read.
    pub unread: Vec<Unread>,
    /// Which heading was taken for what.
    pub columns: Vec<(&'static str, String)>,
}

/// Why the file is no export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not even a table.
    Table(TableFault),
    /// No headings that name a transaction and an amount; these are the first row's.
    Headings(Vec<String>),
}

/// Places of the columns.
struct Columns {
    transaction: usize,
    amount: usize,
    currency: Option<usize>,
    status: Option<usize>,
    date: Option<usize>,
}

impl Statement {
    /// Reads the file. Dates without a zone are of the clock `zone`.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn read(bytes: &[u8], zone: Zone) -> Result<Self, Fault> {
        let table = table::read(bytes).map_err(Fault::Table)?;
        let found = table.iter().take(HEADING_ROWS_MAX).enumerate();
        let found = found.filter_map(|(at, row)| Some((at, Columns::of(row, &table[at + 1..])?))).next();
        let Some((at, columns)) = found else {
            let first = table.first().map(|row| row.cells.iter().map(|cell| shown(cell)).collect());
            return Err(Fault::Headings(first.unwrap_or_default()));
        };
        let named = |name, place: Option<usize>| {
            place.and_then(|place| table[at].cells.get(place)).map(|cell| (name, shown(cell)))
        };
        let named = [
            named("transaction", Some(columns.transaction)),
            named("amount", Some(columns.amount)),
            named("currency", columns.currency),
            named("status", columns.status),
            named("date", columns.date),
        ];
        let (mut rows, mut unread) = (Vec::new(), Vec::new());
        for row in &table[at + 1..] {
            match columns.row(row, zone) {
                Ok(Some(theirs)) => rows.push(theirs),
                Ok(None) => {}
                Err(fault) => unread.push(fault),
            }
        }
        Ok(Self { rows, unread, columns: named.into_iter().flatten().collect() })
    }
}

impl Columns {
    /// The columns that this row's headings name; none if it is no row of headings.
    fn of(headings: &Cells, below: &[Cells]) -> Option<Self> {
        let plain: Vec<String> = headings.cells.iter().map(|cell| folded(cell)).collect();
        let find = |names: &str| {
            names.split_whitespace().find_map(|name| plain.iter().position(|cell| cell == name))
        };
        let amount = find(AMOUNT)?;
        // Our own numbers are a better witness than any heading: an export may have several "references".
        let ours = |place: usize| {
            let own = |row: &&Cells| row.cells.get(place).is_some_and(|cell| number(cell).is_some());
            below.iter().filter(own).count()
        };
        let most = (0..headings.cells.len()).rev().max_by_key(|place| ours(*place));
        let transaction = most.filter(|place| ours(*place) > 0).or_else(|| find(TRANSACTION))?;
        let (currency, status, date) = (find(CURRENCY), find(STATUS), find(DATE));
        Some(Self { transaction, amount, currency, status, date })
    }

    /// The row's values; nothing for a row of sums, which names no transaction.
    fn row(&self, row: &Cells, zone: Zone) -> Result<Option<Theirs>, Unread> {
        let cell = |place: usize| row.cells.get(place).map_or("", String::as_str);
        let unread = |column: &str, text: &str| Unread {
            line: row.line,
            column: column.to_owned(),
            text: shown(text),
        };
        let text = cell(self.transaction);
        if text.is_empty() || text.to_lowercase().starts_with("total") {
            return Ok(None);
        }
        let amount = cell(self.amount);
        let hundredths = hundredths(amount).ok_or_else(|| unread("amount", amount))?;
        let currency = match self.currency.map(cell).filter(|text| !text.is_empty()) {
            Some(text) => Some(currency(text).ok_or_else(|| unread("currency", text))?),
            None => None,
        };
        let at = match self.date.map(cell).filter(|text| !text.is_empty()) {
            Some(text) => Some(moment(text, zone).ok_or_else(|| unread("date", text))?),
            None => None,
        };
        let said = self.status.map_or(Said::Accepted, |place| said(cell(place)));
        let (number, transaction) = (shown(text), number(text));
        Ok(Some(Theirs { line: row.line, number, transaction, hundredths, currency, said, at }))
    }
}

fn shown(text: &str) -> String {
    let plain = |one: char| if one.is_control() { '·' } else { one };
    text.trim().chars().take(SHOWN_CHARS_MAX).map(plain).collect()
}

/// One of our numbers, as a spreadsheet may have left it.
fn number(text: &str) -> Option<TransactionId> {
    TransactionId::parse(&text.trim().trim_start_matches('\'').to_ascii_uppercase()).ok()
}

#[cfg(test)]
mod tests;
