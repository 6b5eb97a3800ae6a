use warp::http::{HeaderMap, HeaderValue, Method};

use super::*;
use crate::domain::values::OrderId;
use crate::http::call::Call;
use crate::ledger::cluster::Standby;

const NOW: i64 = 1_764_150_000_000;
/// What a machine may be called by whoever means ill.
const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{202e}-1-0";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW + seconds * 1000)
}

fn order(number: u8) -> OrderId {
    OrderId::from_bytes([number; 16])
}

fn leases(count: u8, first: i64) -> Leases {
    let leased = |number: u8| Leased {
        order: order(number),
        until: at(first + i64::from(number)),
        lapsed: first + i64::from(number) <= 0,
    };
    let all: Vec<Leased> = (0..count).map(leased).collect();
    let lapsed = all.iter().filter(|one| one.lapsed).count() as u64;
    let ends = all.first().zip(all.last()).map(|(first, last)| (first.until, last.until));
    Leases { held: u64::from(count) - lapsed, lapsed, ends, first: all }
}

fn node(name: &str, heard: i64, state: State) -> Node {
    Node {
        name: name.to_owned(),
        address: Some("0.0.0.0:8000".to_owned()),
        program: "0.1.0".to_owned(),
        tables: 3,
        started: at(-7200),
        heard: at(heard),
        state,
        own: false,
        skew_millis: Some(12),
        trip: Some(Duration::from_micros(400)),
        late: Late::default(),
        leases: Leases::default(),
    }
}

fn cluster(nodes: Vec<Node>, replication: Replication) -> Cluster {
    let standby = Standby { name: Some("b".into()), state: Some("streaming".into()), mode: None };
    let version = Some("PostgreSQL 15.14 (Debian)".to_owned());
    let database = Database { version, role: Role::Primary, replication, standbys: vec![standby] };
    Cluster { at: at(0), nodes, unlisted: 0, homeless: Late::default(), at_least: false, database }
}

fn busy() -> Cluster {
    let own = Node { own: true, leases: leases(2, 4), ..node("abidjan-11-a1", -1, State::Alive) };
    let late = Late { orders: 3, oldest: Some((order(7), at(-200))) };
    let lost = Node {
        late,
        leases: leases(1, -90),
        skew_millis: None,
        trip: None,
        address: None,
        tables: 2,
        ..node("bouake-12-b2", -120, State::Silent)
    };
    let off = Node { skew_millis: Some(-2500), ..node(HOSTILE, 0, State::Alive) };
    let gone = node("dakar-14-d4", -4000, State::Left(at(-3999)));
    cluster(vec![own, lost, off, gone], Replication::Asynchronous)
}

fn desk(lang: &'static str) -> Desk {
    let mut headers = HeaderMap::new();
    headers.insert("accept-language", HeaderValue::from_static(lang));
    Desk::outside(&Call::of(Method::GET, headers)).at("nodes")
}

fn html(lang: &'static str, cluster: Option<&Cluster>) -> String {
    page(&desk(lang), cluster).render().unwrap()
}

/// What the page says, without its frame.
fn main_of(html: &str) -> String {
    let main = html.split("<main id=\"main\">").nth(1).unwrap().split("</main>").next().unwrap();
    main.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_page_as_it_was_last_seen_by_a_person() {
    insta::assert_snapshot!("nodes_fr", main_of(&html("fr", Some(&busy()))));
    insta::assert_snapshot!("nodes_en", main_of(&html("en", Some(&busy()))));
    insta::assert_snapshot!("one_machine_fr", main_of(&html("fr", None)));
}

#[test]
fn what_the_api_says() {
    let busy = busy();
    insta::assert_snapshot!("nodes_api", serde_json::to_string_pretty(&Told::of(Some(&busy))).unwrap());
    let alone = serde_json::to_value(Told::of(None)).unwrap();
    assert_eq!((&alone["shared"], &alone["nodes"]), (&false.into(), &serde_json::json!([])));
}

#[test]
fn a_machine_may_be_called_anything() {
    let mut strange = node(HOSTILE, 0, State::Silent);
    strange.address = Some(format!("<img src=x onerror=alert(1)>{}", "x".repeat(10_000)));
    strange.program = "\"><svg onload=alert(1)>".to_owned();
    let mut cluster = cluster(vec![strange], Replication::Asynchronous);
    cluster.database.version = Some("<b>15</b>".to_owned());
    cluster.database.standbys[0].name = Some("</dd><script>".to_owned());
    for lang in ["fr", "en"] {
        let said = main_of(&html(lang, Some(&cluster)));
        for tag in ["<script", "<img", "<svg", "<b>"] {
            assert!(!said.contains(tag), "{tag}: {said}");
        }
        assert!(said.contains("&#60;script&#62;alert(1)"), "{said}");
        assert!(!said.contains(&"x".repeat(TEXT_CHARS_MAX)), "a long text is cut");
    }
}

#[test]
fn the_page_is_bounded_and_says_what_it_leaves_out() {
    let nodes = (0..NODES_SHOWN_MAX + 3).map(|n| node(&format!("n{n}-1-a"), 0, State::Alive)).collect();
    let many = Cluster { unlisted: 4, at_least: true, ..cluster(nodes, Replication::Synchronous) };
    let said = main_of(&html("en", Some(&many)));
    assert_eq!(said.matches("<li class=\"card\">").count(), NODES_SHOWN_MAX);
    assert!(said.contains("Nodes that are not shown: 7"), "{said}");
    assert!(!said.contains("class=\"alert\""), "nothing is the matter: {said}");
}

#[test]
fn each_alarm_has_its_cause_and_quiet_has_none() {
    let check = |cluster: &Cluster, want: &[&str]| {
        let said: Vec<String> = alarms(&desk("en"), cluster).into_iter().map(|(text, _)| text).collect();
        assert_eq!(said, want);
    };
    let with = |state, skew, replication| {
        let node = Node { skew_millis: Some(skew), ..node("a-1-a", 0, state) };
        cluster(vec![node], replication)
    };
    let quiet = [Replication::Synchronous, Replication::Alone, Replication::Unknown, Replication::Consensus];
    for replication in quiet {
        check(&with(State::Alive, 1000, replication), &[]);
    }
    check(&with(State::Silent, 5000, Replication::Alone), &["Nodes that are not heard any more: 1"]);
    check(&with(State::Alive, -1001, Replication::Alone), &["Clocks that are off from the database’s: 1"]);
    check(&with(State::Replaced, 5000, Replication::Alone), &[]);
    check(
        &with(State::Alive, 0, Replication::Asynchronous),
        &["Replication is asynchronous: a fail-over may lose acknowledged payments"],
    );
    check(&with(State::Alive, 0, Replication::Awaited), &["Commits wait for a standby that is not there"]);
}
