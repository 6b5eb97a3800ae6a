//! /admin/nodes/: the daemons on one database, what each holds and should have seen to, and the database below them. Looks
//! only: nothing here changes anything.
//!
//! Why the menu shows it only where the ledger is shared: most shops have one machine, for which it would say nothing on
//! every page. Its address answers all the same, with what more machines would take.

mod told;

use std::time::Duration;

use askama::Template;
use warp::http::StatusCode;
use warp::reply::Response;

use super::desk::Desk;
use super::{Office, api};
use crate::domain::values::Timestamp;
use crate::http::Deps;
use crate::http::answer::{self, Problem};
use crate::ledger::cluster::{Cluster, Database, Late, Leased, Leases, Node, Replication, Role, State};
pub(super) use told::Told;

/// Nodes shown on the page; the API has all that were read.
const NODES_SHOWN_MAX: usize = 50;
/// Text of another machine's that is shown, in characters.
const TEXT_CHARS_MAX: usize = 80;
/// A clock that is off by more than this is named.
const SKEW_MILLIS_MAX: u64 = 1000;

#[derive(Template)]
#[template(path = "admin_nodes.html")]
struct Page {
    desk: Desk,
    /// None where one daemon has the ledger alone.
    shown: Option<Shown>,
}

/// The cluster in words.
struct Shown {
    /// What an operator should do something about.
    alarms: Vec<String>,
    /// The database, by label.
    database: Vec<(&'static str, String)>,
    /// What is overdue in the whole cluster.
    overdue: String,
    nodes: Vec<Card>,
    /// Nodes that are not shown.
    more: u64,
}

/// A node in words.
struct Card {
    name: String,
    state: &'static str,
    words: &'static str,
    /// What stands behind the state, or nothing.
    since: String,
    facts: Vec<(&'static str, String)>,
    /// The order that has waited longest for it, or nothing.
    oldest: String,
    /// The orders that it has the errand of, the first few: number, and when the lease ends.
    leases: Vec<(String, String)>,
}

/// GET /admin/nodes/.
pub(super) async fn show(office: &Office, desk: &Desk) -> Result<Response, Problem> {
    let cluster = read(&office.deps).await?;
    Ok(answer::page(StatusCode::OK, &page(&desk.at("nodes"), cluster.as_ref())))
}

/// GET /api/nodes.
pub(super) async fn list(deps: &Deps) -> Result<Response, Problem> {
    Ok(answer::json(StatusCode::OK, &Told::of(read(deps).await?.as_ref())))
}

/// The cluster as this node sees it; none where there is none.
pub(super) async fn read(deps: &Deps) -> Result<Option<Cluster>, Problem> {
    deps.ledger.cluster().await.map_err(|error| api::unread(&error))
}

/// What an operator should do something about, in a sentence each with its remedy.
pub(super) fn alarms(desk: &Desk, cluster: &Cluster) -> Vec<(String, &'static str)> {
    let mut alarms = Vec::new();
    let silent = cluster.count(|state| state == State::Silent);
    if silent > 0 {
        let (fr, en) = (
            format!("Nœuds qui ne donnent plus signe de vie : {silent}"),
            format!("Nodes that are not heard any more: {silent}"),
        );
        alarms.push((desk.say(&fr, &en).to_owned(), desk.say(
            "Les autres font leur travail. Regardez si la machine tourne et si elle atteint la base de données ; un nœud retiré est oublié au bout d’un jour.",
            "The others do their work. See whether the machine runs and reaches the database; a node that was removed is forgotten after a day.",
        )));
    }
    if let Some((fr, en, remedy_fr, remedy_en)) = risk(&cluster.database) {
        alarms.push((desk.say(fr, en).to_owned(), desk.say(remedy_fr, remedy_en)));
    }
    let off = |node: &&Node| {
        node.state == State::Alive
            && node.skew_millis.is_some_and(|skew| skew.unsigned_abs() > SKEW_MILLIS_MAX)
    };
    let off = cluster.nodes.iter().filter(off).count();
    if off > 0 {
        let (fr, en) = (
            format!("Horloges qui s’écartent de celle de la base : {off}"),
            format!("Clocks that are off from the database’s: {off}"),
        );
        alarms.push((desk.say(&fr, &en).to_owned(), desk.say(
            "Commandes et baux suivent l’horloge de la base ; réglez quand même celle de la machine (chrony, systemd-timesyncd).",
            "Orders and leases follow the database’s clock; set the machine’s all the same (chrony, systemd-timesyncd).",
        )));
    }
    alarms
}

/// What a fail-over of the database would cost, French and English, and what to do.
fn risk(database: &Database) -> Option<(&'static str, &'static str, &'static str, &'static str)> {
    match database.replication {
        Replication::Asynchronous => Some((
            "La réplication est asynchrone : un basculement peut perdre des paiements confirmés",
            "Replication is asynchronous: a fail-over may lose acknowledged payments",
            "Nommez deux serveurs de secours au moins dans synchronous_standby_names : ANY 1 (a, b).",
            "Name at least two standbys in synchronous_standby_names: ANY 1 (a, b).",
        )),
        Replication::Awaited => Some((
            "Les écritures attendent un serveur de secours qui n’est pas là",
            "Commits wait for a standby that is not there",
            "Rallumez celui que nomme synchronous_standby_names, ou nommez-en un qui suit.",
            "Start the one that synchronous_standby_names names, or name one that follows.",
        )),
        Replication::Alone
        | Replication::Synchronous
        | Replication::Hidden
        | Replication::Consensus
        | Replication::Unknown => None,
    }
}

fn page(desk: &Desk, cluster: Option<&Cluster>) -> Page {
    let shown = cluster.map(|cluster| {
        let cut = cluster.nodes.len().saturating_sub(NODES_SHOWN_MAX) as u64;
        Shown {
            alarms: alarms(desk, cluster)
                .into_iter()
                .map(|(text, remedy)| format!("{text}. {remedy}"))
                .collect(),
            database: database(desk, &cluster.database),
            overdue: overdue(desk, cluster),
            nodes: cluster
                .nodes
                .iter()
                .take(NODES_SHOWN_MAX)
                .map(|node| card(desk, node, cluster.at))
                .collect(),
            more: cluster.unlisted + cut,
        }
    });
    Page { desk: desk.clone(), shown }
}

fn overdue(desk: &Desk, cluster: &Cluster) -> String {
    let Late { orders, oldest } = cluster.late();
    let Some((_, at)) = oldest else {
        return desk.say("Aucune commande n’est en retard.", "No order is overdue.").to_owned();
    };
    let (orders, age) = (counted(orders, cluster.at_least), ago(desk, cluster.at.since(at)));
    let (fr, en) = (
        format!("Commandes en retard dont personne ne s’occupe : {orders} ; la plus ancienne depuis {age}."),
        format!("Orders overdue that nobody is at: {orders}; the oldest for {age}."),
    );
    desk.say(&fr, &en).to_owned()
}

fn counted(orders: u64, at_least: bool) -> String {
    format!("{}{orders}", if at_least { "≥ " } else { "" })
}

fn database(desk: &Desk, database: &Database) -> Vec<(&'static str, String)> {
    let unknown = || desk.say("inconnu", "unknown").to_owned();
    let role = match database.role {
        Role::Primary => desk.say("primaire : elle prend les écritures", "primary: it takes writes"),
        Role::Standby => {
            desk.say("serveur de secours : elle ne prend pas d’écritures", "standby: it takes no writes")
        }
        Role::Unknown => desk.say("inconnu", "unknown"),
    };
    let replication = match database.replication {
        Replication::Alone => desk.say("aucun serveur de secours n’est connecté", "no standby is connected"),
        Replication::Synchronous => desk.say(
            "synchrone : un paiement confirmé est sur deux serveurs",
            "synchronous: an acknowledged payment is on two servers",
        ),
        Replication::Asynchronous => desk.say("asynchrone", "asynchronous"),
        Replication::Awaited => desk.say(
            "synchrone, mais le serveur attendu n’est pas là",
            "synchronous, but the standby that is waited for is not there",
        ),
        Replication::Hidden => desk.say(
            "ce rôle ne peut pas la voir : GRANT pg_read_all_stats, puis rechargez",
            "this role may not see it: GRANT pg_read_all_stats, then reload",
        ),
        Replication::Consensus => desk.say("par le moteur lui-même", "by the engine itself"),
        Replication::Unknown => desk.say("inconnue", "unknown"),
    };
    let mut facts = vec![
        ("Version", database.version.as_deref().map_or_else(unknown, shortened)),
        (desk.say("Rôle", "Role"), role.to_owned()),
        (desk.say("Réplication", "Replication"), replication.to_owned()),
    ];
    for standby in &database.standbys {
        let hidden = desk.say("caché", "hidden");
        let said = |text: &Option<String>| text.as_deref().map_or_else(|| hidden.to_owned(), shortened);
        let text = format!("{} · {} · {}", said(&standby.name), said(&standby.state), said(&standby.mode));
        facts.push((desk.say("Serveur de secours", "Standby"), text));
    }
    facts
}

fn card(desk: &Desk, node: &Node, now: Timestamp) -> Card {
    let heard = ago(desk, now.since(node.heard));
    let (words, since) = match node.state {
        State::Alive if node.own => (desk.say("ce nœud", "this node"), String::new()),
        State::Alive => (desk.say("en vie", "alive"), String::new()),
        State::Silent => (
            desk.say("muet", "silent"),
            format!("{} {}", desk.say("depuis le", "since"), desk.moment(node.heard)),
        ),
        State::Replaced => (desk.say("relancé depuis", "started again since"), String::new()),
        State::Left(at) => (desk.say("arrêté dans l’ordre", "ended in order"), desk.moment(at)),
    };
    let unsaid = || desk.say("il ne le dit pas", "it does not say").to_owned();
    let facts = vec![
        (desk.say("Adresse", "Address"), node.address.as_deref().map_or_else(unsaid, shortened)),
        (desk.say("Programme", "Program"), format!("{} · tables {}", shortened(&node.program), node.tables)),
        (desk.say("Démarré", "Started"), desk.moment(node.started)),
        (
            desk.say("Entendu", "Heard"),
            desk.say(&format!("il y a {heard}"), &format!("{heard} ago")).to_owned(),
        ),
        (
            desk.say("Avance de la base sur son horloge", "Database’s clock ahead by"),
            node.skew_millis.map_or_else(unsaid, |skew| format!("{skew}\u{a0}ms")),
        ),
        (
            desk.say("Réponse de la base", "Database’s answer"),
            node.trip.map_or_else(unsaid, |trip| millis(desk, trip)),
        ),
        (desk.say("En retard", "Overdue"), late(desk, &node.late, now)),
        (desk.say("Baux", "Leases"), leases(desk, &node.leases, now)),
    ];
    let lease = |leased: &Leased| (leased.order.to_string(), ending(desk, leased.until, now));
    Card {
        name: shortened(&node.name),
        state: node.state.name(),
        words,
        since,
        facts,
        oldest: node.late.oldest.map(|(order, _)| order.to_string()).unwrap_or_default(),
        leases: node.leases.first.iter().map(lease).collect(),
    }
}

fn late(desk: &Desk, late: &Late, now: Timestamp) -> String {
    let Some((_, at)) = late.oldest else { return desk.say("rien", "nothing").to_owned() };
    let age = ago(desk, now.since(at));
    let (fr, en) = (
        format!("{} ; la plus ancienne attend depuis {age}", late.orders),
        format!("{}; the oldest has waited for {age}", late.orders),
    );
    desk.say(&fr, &en).to_owned()
}

fn leases(desk: &Desk, leases: &Leases, now: Timestamp) -> String {
    let Some((first, last)) = leases.ends else { return desk.say("aucun", "none").to_owned() };
    let (first, last) = (ending(desk, first, now), ending(desk, last, now));
    let (held, lapsed) = (leases.held, leases.lapsed);
    let (fr, en) = (
        format!(
            "en cours : {held} ; échus et pas repris : {lapsed} ; le plus ancien {first}, le dernier {last}"
        ),
        format!("running: {held}; over and not taken over: {lapsed}; the oldest {first}, the last {last}"),
    );
    desk.say(&fr, &en).to_owned()
}

/// When a lease ends, or ended.
fn ending(desk: &Desk, until: Timestamp, now: Timestamp) -> String {
    let (fr, en) = if until > now {
        let left = ago(desk, until.since(now));
        (format!("finit dans {left}"), format!("ends in {left}"))
    } else {
        let past = ago(desk, now.since(until));
        (format!("fini depuis {past}"), format!("over for {past}"))
    };
    desk.say(&fr, &en).to_owned()
}

/// `3 s`, `5 min`, `2 h`, `4 j`: the largest unit of which there are two or more, rounded down.
fn ago(desk: &Desk, time: Duration) -> String {
    let units = [(86_400, desk.say("j", "d")), (3_600, "h"), (60, "min")];
    let seconds = time.as_secs();
    let unit = units.into_iter().find(|(length, _)| seconds >= 2 * length);
    let (length, name) = unit.unwrap_or((1, "s"));
    format!("{}\u{a0}{name}", seconds / length)
}

/// `0,4 ms`, `0.4 ms`.
fn millis(desk: &Desk, time: Duration) -> String {
    let text = format!("{:.1}\u{a0}ms", time.as_secs_f64() * 1000.0);
    desk.say(&text.replace('.', ","), &text).to_owned()
}

/// What another machine wrote may be of any length.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
