use super::*;

/// `name address? tables started heard left?`, in seconds; `-` for none.
fn node(text: &str) -> Node {
    let [name, address, tables, started, heard, left] =
        text.split_whitespace().collect::<Vec<_>>().try_into().expect("six words");
    let at = |text: &str| Timestamp::from_millis(text.parse::<i64>().expect("seconds") * 1000);
    Node {
        name: name.to_owned(),
        address: (address != "-").then(|| address.to_owned()),
        program: "0.1.0".to_owned(),
        tables: tables.parse().expect("a number"),
        started: at(started),
        heard: at(heard),
        state: if left == "-" { State::Alive } else { State::Left(at(left)) },
        own: name.starts_with("own"),
        skew_millis: None,
        trip: None,
        late: Late::default(),
        leases: Leases::default(),
    }
}

fn cluster(nodes: &[&str]) -> Cluster {
    let mut cluster = Cluster {
        at: Timestamp::from_millis(1_000_000),
        nodes: nodes.iter().map(|text| node(text)).collect(),
        unlisted: 0,
        homeless: Late::default(),
        at_least: false,
        database: Database::default(),
    };
    cluster.settle();
    cluster
}

#[test]
fn a_node_is_alive_silent_replaced_or_gone() {
    let check = |nodes: &[&str], want: &str| {
        let said: Vec<String> =
            cluster(nodes).nodes.iter().map(|node| format!("{} {}", host(node), node.state.name())).collect();
        assert_eq!(said.join(", "), want, "{nodes:?}");
    };
    check(&["a-1-x :1 3 10 991 -"], "a alive");
    check(&["a-1-x :1 3 10 990 -"], "a silent");
    // This node first, whatever the others do.
    check(&["a-1-x :1 3 10 999 -", "own-1-x :1 3 10 991 -"], "own alive, a alive");
    // Started again at the same place, since; a machine's name may have dashes.
    check(&["shop-1-1-x :1 3 10 500 -", "shop-1-2-y :1 3 501 999 -"], "shop-1 alive, shop-1 replaced");
    // A twin that was there before is no successor, nor one at another place.
    check(&["a-1-x :1 3 10 500 -", "a-2-y :1 3 400 999 -"], "a alive, a silent");
    check(&["a-1-x :1 3 10 500 -", "a-2-y :2 3 501 999 -"], "a alive, a silent");
    check(&["a-1-x :1 3 10 500 -", "b-2-y :1 3 501 999 -"], "b alive, a silent");
    // A successor that is silent itself is the one to look for.
    check(&["a-1-x :1 3 10 500 -", "a-2-y :1 3 501 600 -"], "a silent, a replaced");
    // An older program does not say where it listens: its machine is enough.
    check(&["a-1-x - 2 10 500 -", "a-2-y :1 3 501 999 -"], "a alive, a replaced");
    check(&["a-1-x - 2 10 500 -"], "a silent");
    check(&["a-1-x - 2 10 999 -"], "a alive");
    // `ledger verify` and its like are seen while they run.
    check(&["a-1-x - 3 10 500 -", "a-2-y - 3 10 999 -"], "a alive");
    check(&["a-1-x :1 3 10 500 501", "b-1-x :1 3 10 600 -"], "b silent, a left");
    check(&["strange :1 3 10 999 -"], "strange alive");
}

#[test]
fn what_is_overdue_is_summed_up() {
    let order = |number| OrderId::from_bytes([number; 16]);
    let late =
        |orders, number, at| Late { orders, oldest: Some((order(number), Timestamp::from_millis(at))) };
    let mut cluster = cluster(&["a-1-x :1 3 10 999 -", "b-1-x :1 3 10 999 -"]);
    assert_eq!(cluster.late(), Late::default());
    cluster.nodes[0].late = late(2, 1, 500);
    cluster.homeless = late(3, 2, 400);
    assert_eq!(cluster.late(), late(5, 2, 400));
    assert_eq!((cluster.count(|state| state == State::Alive), cluster.count(|_| false)), (2, 0));
}

#[test]
fn what_the_database_says_of_its_standbys() {
    let standby = |mode: &str| Standby { mode: (mode != "-").then(|| mode.to_owned()), ..Standby::default() };
    // `version | synchronous_standby_names | synchronous_commit | modes`; `?`: the question failed, `-`: not to be seen.
    fn said(text: &str) -> Option<&str> {
        (text != "?").then_some(text)
    }
    let check = |text: &str, want: &str| {
        let [version, names, commit, modes] =
            text.split('|').map(str::trim).collect::<Vec<_>>().try_into().expect("four");
        let standbys: Vec<Standby> = modes.split_whitespace().map(standby).collect();
        let answers = Answers {
            version: said(version),
            names: said(names),
            commit: said(commit),
            standbys: (modes != "?").then_some(&standbys[..]),
        };
        assert_eq!(answers.replication().name(), want, "{text}");
    };
    let cases = [
        ("PostgreSQL 15.1 | | on | ", "none"),
        ("PostgreSQL 15.1 | ANY 1 (a, b) | on | ", "none"),
        ("PostgreSQL 15.1 | | on | async", "asynchronous"),
        ("PostgreSQL 15.1 | | on | async async", "asynchronous"),
        ("PostgreSQL 15.1 | a | on | async sync", "synchronous"),
        ("PostgreSQL 15.1 | ANY 1 (a, b) | remote_apply | quorum quorum", "synchronous"),
        ("PostgreSQL 15.1 | a | local | sync", "asynchronous"),
        ("PostgreSQL 15.1 | a | on | async", "awaited"),
        ("PostgreSQL 15.1 | a | on | -", "hidden"),
        ("PostgreSQL 15.1 | | on | -", "asynchronous"),
        ("PostgreSQL 15.1 | ? | ? | -", "hidden"),
        ("PostgreSQL 15.1 | ? | ? | async", "asynchronous"),
        ("PostgreSQL 15.1 | a | on | ?", "unknown"),
        ("? | ? | ? | ?", "unknown"),
        ("CockroachDB CCL v23.1.11 | ? | ? | ?", "consensus"),
        ("PostgreSQL 11.2-YB-2.18.0.0-b0 on x86_64 | | on | ", "consensus"),
    ];
    for (text, want) in cases {
        check(text, want);
    }
}
