//! What the simulator remembers: transactions in the order they came, each with counts and its own settings.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;
use serde_json::{Map, Value};

use super::settings::Settings;
use super::sign::derived_hex;

/// Transactions remembered; beyond it the oldest is forgotten.
pub(super) const TRANSACTIONS_MAX: usize = 10_000;
/// Transactions that may have settings of their own.
pub(super) const OVERRIDES_MAX: usize = 1_000;
/// Notification attempts remembered for each transaction.
const ATTEMPTS_MAX: usize = 50;
/// Length of a payment token in hex characters, as captured.
const TOKEN_CHARS: usize = 110;

/// Where a payment stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "UPPERCASE")]
pub enum Status {
    /// Nobody paid yet, or the operator still waits.
    Pending,
    /// Paid.
    Accepted,
    /// Refused with one of CinetPay's codes.
    Refused {
        /// Such as 600, 602, 604, 606 or 627.
        code: String,
    },
    /// The link is too old (code 625).
    Expired,
}

impl Status {
    /// CinetPay's code and its word for this status.
    pub fn code(&self) -> (&str, &'static str) {
        match self {
            Status::Pending => ("662", "WAITING_CUSTOMER_PAYMENT"),
            Status::Accepted => ("00", "SUCCES"),
            Status::Refused { code } => (code, word(code)),
            Status::Expired => ("625", "ABONNEMENT_OR_TRANSACTIONS_EXPIRED"),
        }
    }
}

/// CinetPay's word for a code.
pub(super) fn word(code: &str) -> &'static str {
    match code {
        "00" => "SUCCES",
        "201" => "CREATED",
        "600" => "PAYMENT_FAILED",
        "601" => "NOT_FOUND",
        "602" => "INSUFFICIENT_BALANCE",
        "603" => "SERVICE_UNAVAILABLE",
        "604" => "OTP_CODE_ERROR",
        "606" => "INCORRECT_SETTINGS",
        "608" => "MINIMUM_REQUIRED_FIELDS",
        "609" => "AUTH_NOT_FOUND",
        "612" => "ERROR_CURRENCY_NOTVALID",
        "613" => "ERROR_SITE_ID_NOTVALID",
        "620" => "TRANSACTION_EXIST",
        "623" => "WAITING_CUSTOMER_TO_VALIDATE",
        "625" => "ABONNEMENT_OR_TRANSACTIONS_EXPIRED",
        "627" => "TRANSACTION_CANCEL",
        "641" => "ERROR_AMOUNT_TOO_LOW",
        "642" => "ERROR_AMOUNT_TOO_HIGH",
        "662" => "WAITING_CUSTOMER_PAYMENT",
        "429" => "TOO_MANY_REQUEST",
        _ => "UNKNOWN_ERROR",
    }
}

/// What init said about a payment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Order {
    /// The merchant's id.
    pub transaction_id: String,
    /// Whole units of the currency.
    pub amount: String,
    /// XOF, XAF, CDF, GNF or USD.
    pub currency: String,
    /// Shown to the payer.
    pub description: String,
    /// Comes back as `cpm_custom`.
    pub metadata: Option<String>,
    /// Where notifications go.
    pub notify_url: String,
    /// Where the buyer goes back to.
    pub return_url: String,
    /// `fr` or `en`.
    pub lang: String,
    /// ALL, MOBILE_MONEY, CREDIT_CARD or WALLET.
    pub channels: String,
}

/// How the payer paid, or tried to.
#[derive(Clone, Debug, Serialize)]
pub struct Payer {
    /// OM, MOMO, FLOOZ, WAVECI, TMONEYTG, CARD …
    pub method: String,
    /// National number.
    pub phone: String,
    /// Country prefix without `+`.
    pub prefix: String,
}

impl Default for Payer {
    fn default() -> Self {
        Payer { method: "OM".to_owned(), phone: "0707070707".to_owned(), prefix: "225".to_owned() }
    }
}

/// How often a transaction was asked and told about.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Calls of init with this id, refused ones included.
    pub init: u64,
    /// Calls of check with this id.
    pub check: u64,
    /// GET pings sent.
    pub ping: u64,
    /// Signed POSTs sent, repeats and retries included.
    pub notify: u64,
    /// Signed POSTs that got a 2xx.
    pub notify_ok: u64,
    /// Notifications lost on purpose, or because too many were waiting.
    pub dropped: u64,
    /// Notifications begun: changes of status told about.
    pub announced: u64,
}

/// One HTTP call to `notify_url` and its outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// HTTP status; none when nothing came back.
    pub http_status: Option<u16>,
    /// `cpm_error_message` of the POST.
    pub message: String,
}

/// One payment.
#[derive(Clone, Debug, Serialize)]
pub struct Transaction {
    /// What init said.
    #[serde(flatten)]
    pub order: Order,
    /// The payment token.
    pub token: String,
    /// Where it stands.
    #[serde(flatten)]
    pub status: Status,
    /// Whether the payer has already pressed the button.
    pub payer: Option<Payer>,
    /// `2022-09-29 14:13:16`, UTC.
    pub created_at: String,
    /// When it was accepted, UTC.
    pub paid_at: Option<String>,
    /// The operator's reference once accepted.
    pub operator_id: Option<String>,
    /// Calls so far.
    pub counts: Counts,
    /// The last calls to `notify_url`, oldest first.
    pub attempts: VecDeque<Attempt>,
}

/// Why a change of status did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchanged {
    /// No such transaction.
    Unknown,
    /// It already stands there.
    Same,
    /// An accepted payment stays accepted.
    Final,
}

/// Everything behind the lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) overrides: BTreeMap<String, Map<String, Value>>,
    transactions: HashMap<String, Transaction>,
    order: VecDeque<String>,
    tokens: HashMap<String, String>,
    /// Calls since a fault was set, by scope (empty: global) and endpoint.
    hits: HashMap<(String, &'static str), u64>,
    /// Calls of either endpoint that named no transaction we keep.
    pub(super) strangers: Counts,
}

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        State { settings, ..State::default() }
    }

    /// The settings that hold for `id`: the global ones under its own.
    pub(super) fn settings_for(&self, id: &str) -> Settings {
        match self.overrides.get(id) {
            // An override is checked when it is set; a later change of the shape cannot happen in one process.
            Some(patch) => self.settings.patched(patch).unwrap_or_else(|_| self.settings.clone()),
            None => self.settings.clone(),
        }
    }

    /// Counts one call against the fault in force and says its number since that fault was set, from 0.
    pub(super) fn hit(&mut self, id: &str, endpoint: &'static str) -> u64 {
        let own = self.overrides.get(id).is_some_and(|patch| patch.contains_key(endpoint));
        let scope = if own { id } else { "" };
        let hit = self.hits.entry((scope.to_owned(), endpoint)).or_insert(0);
        *hit += 1;
        *hit - 1
    }

    /// Fault counters of a scope start again (empty: global), because its settings were changed.
    pub(super) fn rearm(&mut self, scope: &str) {
        self.hits.retain(|(held, _), _| held != scope);
    }

    pub(super) fn get(&self, id: &str) -> Option<&Transaction> {
        self.transactions.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Transaction> {
        self.transactions.get_mut(id)
    }

    pub(super) fn by_token(&self, token: &str) -> Option<&Transaction> {
        self.tokens.get(token).and_then(|id| self.transactions.get(id))
    }

    /// All transactions, oldest first.
    pub(super) fn list(&self) -> impl Iterator<Item = &Transaction> {
        self.order.iter().filter_map(|id| self.transactions.get(id))
    }

    /// Stores a new payment and gives its token. The caller has made sure that the id is free.
    pub(super) fn open(&mut self, order: Order, site_id: &str, now: String) -> String {
        if self.order.len() >= TRANSACTIONS_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Some(gone) = self.transactions.remove(&oldest)
        {
            self.tokens.remove(&gone.token);
        }
        let id = order.transaction_id.clone();
        let token = derived_hex(&format!("{site_id}:{id}"), TOKEN_CHARS);
        self.tokens.insert(token.clone(), id.clone());
        self.order.push_back(id.clone());
        let transaction = Transaction {
            order,
            token: token.clone(),
            status: Status::Pending,
            payer: None,
            created_at: now,
            paid_at: None,
            operator_id: None,
            counts: Counts { init: 1, ..Counts::default() },
            attempts: VecDeque::new(),
        };
        self.transactions.insert(id, transaction);
        token
    }

    /// Moves a payment. Accepted is final; refused and expired are not (the buyer may try again).
    pub(super) fn settle(
        &mut self,
        id: &str,
        to: Status,
        payer: Option<Payer>,
        now: String,
    ) -> Result<(), Unchanged> {
        let held = self.transactions.get_mut(id).ok_or(Unchanged::Unknown)?;
        if held.status == to {
            let first_try = held.payer.is_none() && payer.is_some();
            held.payer = payer.or(held.payer.take());
            return if first_try && to == Status::Pending { Ok(()) } else { Err(Unchanged::Same) };
        }
        if held.status == Status::Accepted {
            return Err(Unchanged::Final);
        }
        held.payer = Some(payer.or(held.payer.take()).unwrap_or_default());
        if to == Status::Accepted {
            held.operator_id = Some(format!("MP{}", derived_hex(&held.token, 14).to_uppercase()));
            held.paid_at = Some(now);
        }
        held.status = to;
        Ok(())
    }

    /// Remembers one call to `notify_url`.
    pub(super) fn record(&mut self, id: &str, attempt: Attempt) {
        let Some(held) = self.transactions.get_mut(id) else { return };
        let good = attempt.http_status.is_some_and(|status| (200..300).contains(&status));
        if attempt.method == "GET" {
            held.counts.ping += 1;
        } else {
            held.counts.notify += 1;
            held.counts.notify_ok += u64::from(good);
        }
        if held.attempts.len() >= ATTEMPTS_MAX {
            held.attempts.pop_front();
        }
        held.attempts.push_back(attempt);
    }

    /// Forgets every transaction, override and count, and goes back to `settings`.
    pub(super) fn reset(&mut self, settings: Settings) {
        *self = State::new(settings);
    }
}
