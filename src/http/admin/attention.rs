//! What needs a person, the gravest first: money that waits for a decision, buyers who paid and have nothing, and parts of
//! the machine that do not work.

use std::time::Duration;

use super::desk::Desk;
use super::{Office, api, nodes};
use crate::domain::payment::{Mail, Payment, Status};
use crate::domain::values::Timestamp;
use crate::http::Deps;
use crate::http::answer::Problem;
use crate::ledger::{Ledger, LedgerError, Query};
use crate::telemetry::gauge;

/// Orders named under one heading.
const NAMED_MAX: usize = 5;
/// Orders looked at for mails that are owed, those due soonest: a mail that is owed is tried again within the hour.
const OWED_ORDERS_MAX: usize = 1000;
const OWED_AHEAD_SECONDS: u64 = 2 * 3600;
/// A mail that is owed this long is no longer a matter of moments.
const OWED_SECONDS: u64 = 15 * 60;
/// An order that waits this long for its payment is worth a look.
const PENDING_SECONDS: u64 = 24 * 3600;
/// Orders paid in a row of which no notification told; as the daemon's own warning.
const UNHEARD_MAX: f64 = 3.0;

/// One thing to see to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// Whether money or buyers wait for it.
    pub(super) grave: bool,
    /// What is the matter.
    pub(super) text: String,
    /// What to do.
    pub(super) hint: &'static str,
    /// The orders in question, the first few.
    pub(super) orders: Vec<String>,
    /// Where all of them are listed, or nothing.
    pub(super) all: &'static str,
}

/// What the ledger and the gauges say.
#[derive(Debug, Default)]
struct Signs {
    /// Why the journal takes no commits, or nothing.
    journal: Option<String>,
    in_doubt: bool,
    room_short: bool,
    review: (u64, Vec<String>),
    stalled: (usize, Vec<String>),
    /// Paid orders whose mail was tried in vain, or is owed for too long.
    owed: Vec<String>,
    oldest_pending: Option<Duration>,
    breaker_open: bool,
    unheard: bool,
    /// What is the matter with the nodes and their database, and what to do.
    cluster: Vec<(String, &'static str)>,
}

/// Everything that needs somebody now.
pub(super) async fn tasks(office: &Office, desk: &Desk) -> Result<Vec<Task>, Problem> {
    let deps = &office.deps;
    let (ledger, now) = (deps.ledger.clone(), deps.now());
    let mut signs = api::read(move || signs(&ledger, now)).await?;
    let metrics = (deps.metrics)();
    signs.breaker_open = gauge(&metrics, "auditshield_breaker_open").is_some_and(|value| value > 0.0);
    signs.unheard = gauge(&metrics, "auditshield_paid_unheard").is_some_and(|value| value >= UNHEARD_MAX);
    signs.room_short = room_short(deps);
    if let Some(cluster) = nodes::read(deps).await? {
        signs.cluster = nodes::alarms(desk, &cluster);
    }
    Ok(said(desk, &signs))
}

fn room_short(deps: &Deps) -> bool {
    let least = deps.settings.free_bytes_min;
    least > 0 && deps.ledger.free_bytes().is_ok_and(|free| free < least)
}

fn signs(ledger: &Ledger, now: Timestamp) -> Result<Signs, LedgerError> {
    let first = |query: Query| -> Result<Vec<String>, LedgerError> {
        Ok(ledger.list(&query)?.orders.iter().map(|payment| payment.id.to_string()).collect())
    };
    let review = Query { status: Some("REVIEW".to_owned()), limit: NAMED_MAX, ..Query::default() };
    let stalled = Query { stalled: true, limit: NAMED_MAX, ..Query::default() };
    let reviews = ledger.counts().iter().find(|(name, _)| *name == "REVIEW").map_or(0, |(_, count)| count);
    let health = ledger.health();
    Ok(Signs {
        journal: (!health.can_commit).then(|| health.reason.unwrap_or_default()),
        in_doubt: health.index_in_doubt,
        review: (reviews, first(review)?),
        stalled: (ledger.stalled(), first(stalled)?),
        owed: owed(ledger, now)?,
        oldest_pending: ledger.oldest_pending()?.map(|at| now.since(at)),
        ..Signs::default()
    })
}

fn owed(ledger: &Ledger, now: Timestamp) -> Result<Vec<String>, LedgerError> {
    let due = ledger.due(now.plus(Duration::from_secs(OWED_AHEAD_SECONDS)), OWED_ORDERS_MAX)?;
    let mut found = Vec::new();
    for (_, id) in due {
        if let Some(payment) = ledger.load(id)?
            && is_late(&payment, now)
        {
            found.push(id.to_string());
        }
    }
    Ok(found)
}

/// Whether a paid order's mail should have gone by now.
fn is_late(payment: &Payment, now: Timestamp) -> bool {
    let Status::Paid(sale) = &payment.status else { return false };
    let waits = now.since(sale.paid_at) >= Duration::from_secs(OWED_SECONDS);
    matches!(sale.mail, Mail::Owed { tries, .. } if tries > 0 || waits)
}

fn said(desk: &Desk, signs: &Signs) -> Vec<Task> {
    let mut tasks = machine(desk, signs);
    for (text, hint) in &signs.cluster {
        tasks.push(Task { grave: false, ..task(text, hint, &[], "/admin/nodes/") });
    }
    let (reviews, ids) = &signs.review;
    if *reviews > 0 {
        let (fr, en) = (format!("Paiements à décider : {reviews}"), format!("Payments to decide: {reviews}"));
        let hint = desk.say(
            "CinetPay a encaissé un autre montant que celui de la commande. Rien n’est livré avant votre décision.",
            "CinetPay collected another amount than the order's. Nothing is delivered before you decide.",
        );
        tasks.push(task(desk.say(&fr, &en), hint, ids, "/admin/orders/?status=REVIEW"));
    }
    let (stalled, ids) = &signs.stalled;
    if *stalled > 0 {
        let (fr, en) = (
            format!("Payées, e-mail refusé pour de bon : {stalled}"),
            format!("Paid, mail refused for good: {stalled}"),
        );
        let hint = desk.say(
            "L’adresse est sans doute fausse : corrigez-la, ou joignez l’acheteur.",
            "The address is probably wrong: correct it, or reach the buyer.",
        );
        tasks.push(task(desk.say(&fr, &en), hint, ids, "/admin/orders/?mail=stalled"));
    }
    if !signs.owed.is_empty() {
        let count = signs.owed.len();
        let (fr, en) = (
            format!("Payées, e-mail pas encore parti : {count}"),
            format!("Paid, mail not sent yet: {count}"),
        );
        let hint = desk.say("Le serveur de messagerie ne prend pas ces e-mails ; ils sont réessayés d’eux-mêmes. Vérifiez-le avec « auditshield doctor ».", "The mail server does not take these mails; they are tried again by themselves. Check it with `auditshield doctor`.");
        tasks.push(task(desk.say(&fr, &en), hint, &signs.owed, ""));
    }
    if let Some(age) = signs.oldest_pending.filter(|age| *age >= Duration::from_secs(PENDING_SECONDS)) {
        let hours = age.as_secs() / 3600;
        let (fr, en) = (
            format!("La plus ancienne commande en attente l’est depuis {hours} h"),
            format!("The oldest waiting order has waited for {hours} h"),
        );
        let hint = desk.say(
            "Souvent un achat abandonné : CinetPay est interrogé jusqu’au bout du délai.",
            "Often an abandoned purchase: CinetPay is asked until time runs out.",
        );
        tasks.push(Task {
            grave: false,
            ..task(desk.say(&fr, &en), hint, &[], "/admin/orders/?status=PENDING")
        });
    }
    tasks
}

/// What does not work in the machine itself.
fn machine(desk: &Desk, signs: &Signs) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut say = |grave, fr: &str, en: &str, hint_fr, hint_en| {
        tasks.push(Task { grave, ..task(desk.say(fr, en), desk.say(hint_fr, hint_en), &[], "") });
    };
    if let Some(reason) = &signs.journal {
        let (fr, en) = (
            format!("Le journal ne peut pas écrire : {reason}"),
            format!("The journal cannot write: {reason}"),
        );
        say(
            true,
            &fr,
            &en,
            "Aucune commande n’est prise. Vérifiez la place et l’état du disque.",
            "No orders are taken. Check the disk's room and health.",
        );
    }
    if signs.room_short {
        say(
            true,
            "Le disque est presque plein",
            "The disk is nearly full",
            "Les nouvelles commandes sont refusées ; les paiements en cours sont encore suivis. Faites de la place.",
            "New orders are refused; payments under way are still followed. Make room.",
        );
    }
    if signs.breaker_open {
        say(
            true,
            "CinetPay ne répond pas",
            "CinetPay does not answer",
            "Achats et vérifications reprennent d’eux-mêmes. Si cela dure, voyez l’état de CinetPay et « auditshield doctor ».",
            "Purchases and checks go on by themselves. If it lasts, look at CinetPay's state and `auditshield doctor`.",
        );
    }
    if signs.unheard {
        say(
            true,
            "Des commandes sont payées sans qu’aucune notification n’arrive",
            "Orders are paid and no notification arrives",
            "L’adresse de notification n’est pas déclarée chez CinetPay, ou quelque chose la bloque : « auditshield doctor » cherche quoi.",
            "The notify address is not declared at CinetPay, or something blocks it: `auditshield doctor` finds out.",
        );
    }
    if signs.in_doubt {
        say(
            false,
            "L’index est relu après un arrêt brutal",
            "The index is being read after a hard stop",
            "Rien à faire : le journal fait foi.",
            "Nothing to do: the journal is the truth.",
        );
    }
    tasks
}

fn task(text: &str, hint: &'static str, ids: &[String], all: &'static str) -> Task {
    Task {
        grave: true,
        text: text.to_owned(),
        hint,
        orders: ids.iter().take(NAMED_MAX).cloned().collect(),
        all,
    }
}

#[cfg(test)]
mod tests {
    use warp::http::{HeaderMap, Method};

    use super::*;
    use crate::http::call::Call;

    #[test]
    fn each_sign_says_one_thing_and_quiet_says_nothing() {
        let desk = Desk::outside(&Call::of(Method::GET, HeaderMap::new()));
        let check = |signs: Signs, want: &[(bool, &str, usize, &str)]| {
            let said = said(&desk, &signs);
            let said: Vec<_> = said
                .iter()
                .map(|task| (task.grave, task.text.as_str(), task.orders.len(), task.all))
                .collect();
            assert_eq!(said, want);
        };
        let ids = |count| vec!["X".to_owned(); count];
        check(Signs::default(), &[]);
        check(
            Signs { review: (9, ids(5)), ..Signs::default() },
            &[(true, "Paiements à décider : 9", 5, "/admin/orders/?status=REVIEW")],
        );
        check(
            Signs { stalled: (1, ids(1)), owed: ids(7), ..Signs::default() },
            &[
                (true, "Payées, e-mail refusé pour de bon : 1", 1, "/admin/orders/?mail=stalled"),
                (true, "Payées, e-mail pas encore parti : 7", NAMED_MAX, ""),
            ],
        );
        let age = |seconds| Signs { oldest_pending: Some(Duration::from_secs(seconds)), ..Signs::default() };
        check(age(PENDING_SECONDS - 1), &[]);
        check(
            age(PENDING_SECONDS),
            &[(
                false,
                "La plus ancienne commande en attente l’est depuis 24 h",
                0,
                "/admin/orders/?status=PENDING",
            )],
        );
        check(
            Signs { journal: Some("no room".into()), breaker_open: true, ..Signs::default() },
            &[
                (true, "Le journal ne peut pas écrire : no room", 0, ""),
                (true, "CinetPay ne répond pas", 0, ""),
            ],
        );
        check(
            Signs { cluster: vec![("Un nœud est muet".into(), "Regardez")], ..Signs::default() },
            &[(false, "Un nœud est muet", 0, "/admin/nodes/")],
        );
        check(
            Signs { room_short: true, unheard: true, in_doubt: true, ..Signs::default() },
            &[
                (true, "Le disque est presque plein", 0, ""),
                (true, "Des commandes sont payées sans qu’aucune notification n’arrive", 0, ""),
                (false, "L’index est relu après un arrêt brutal", 0, ""),
            ],
        );
    }
}
