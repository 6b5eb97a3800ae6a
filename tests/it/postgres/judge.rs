//! What is wrong after a storm, as the database and the mailbox have it: a list, so that a storm of daemons without
//! fences can be seen to fill it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Database;
use super::fleet::Fleet;
use crate::process_support::times;

/// Between two looks whether all is delivered.
const LOOK: Duration = Duration::from_millis(500);
/// Of so many promised orders one is looked at through every node, and downloaded.
const SAMPLE: usize = 20;
/// Violations named; the others are counted.
const NAMED_MAX: usize = 10;

/// Of each so much.
const CHARS_MAX: usize = 400;

/// Every line of every order, and where the order's row stands.
const LINES: &str = "select l.version, convert_from(l.body, 'UTF8'), coalesce(o.version, 0) from auditshield_lines l \
                     left join auditshield_orders o on o.id = l.order_id order by l.order_id, l.version";
const RECEIPTS: &str = "select count(*), coalesce(min(place), 1), coalesce(max(place), 0), \
                        coalesce((select max(last) from auditshield_series), 0) from auditshield_receipts";

/// What an order's lines say, read without the daemon's own code.
#[derive(Default)]
struct Story {
    versions: Vec<i64>,
    /// The row's.
    stands: i64,
    bodies: Vec<String>,
}

/// What was found wrong.
#[derive(Debug, Default)]
pub(crate) struct Violations(BTreeMap<&'static str, Vec<String>>);

// === impl Story ===

impl Story {
    fn times(&self, kind: &str) -> usize {
        let mark = format!("\"kind\":\"{kind}\"");
        self.bodies.iter().map(|body| body.matches(&mark).count()).sum()
    }
}

// === impl Violations ===

impl Violations {
    fn find(&mut self, law: &'static str, text: String) {
        self.0.entry(law).or_default().push(text);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of one kind.
    #[cfg(feature = "failpoints")]
    pub(crate) fn of(&self, law: &str) -> usize {
        self.0.get(law).map_or(0, Vec::len)
    }

    /// How many of each kind, and some of them.
    pub(crate) fn told(&self) -> String {
        let law = |(law, texts): (&&str, &Vec<String>)| {
            let short = |text: &String| text.chars().take(CHARS_MAX).collect::<String>();
            let named: Vec<String> = texts.iter().take(NAMED_MAX).map(short).collect();
            format!("{} × {law}:\n  {}\n", texts.len(), named.join("\n  "))
        };
        self.0.iter().map(law).collect()
    }

    /// The counts alone.
    pub(crate) fn counts(&self) -> String {
        let counts: Vec<String> =
            self.0.iter().map(|(law, texts)| format!("{} × {law}", texts.len())).collect();
        if counts.is_empty() { "no violation".to_owned() } else { counts.join(", ") }
    }
}

/// Waits until all that was promised is delivered, as long as something moves within `rest`; then judges.
pub(crate) async fn judge(
    fleet: &Fleet,
    database: &Database,
    promised: &BTreeSet<String>,
    rest: Duration,
) -> Violations {
    let mut found = Violations::default();
    let stories = delivered(database, promised, rest).await;
    for (order, story) in &stories {
        lines(order, story, &mut found);
    }
    for order in promised {
        match stories.get(order) {
            Some(story) => promise(order, story, &mut found),
            None => found.find("an acknowledged order is unknown", order.clone()),
        }
    }
    receipts(database, &mut found).await;
    mails(fleet, promised, &mut found);
    through_every_node(fleet, promised, &mut found).await;
    verified(fleet, &mut found).await;
    found
}

/// Only what the database itself must be, whatever was lost before it became what it is.
pub(crate) async fn books(fleet: &Fleet, database: &Database) -> Violations {
    let mut found = Violations::default();
    for (order, story) in &read(database).await {
        lines(order, story, &mut found);
    }
    receipts(database, &mut found).await;
    verified(fleet, &mut found).await;
    found
}

/// The orders whose notification is written down.
pub(crate) async fn kept(database: &Database) -> BTreeSet<String> {
    let stories = read(database).await.into_iter();
    stories.filter(|(_, story)| story.times("NOTIFIED") > 0).map(|(order, _)| order).collect()
}

/// The stories once every promised order is delivered, or nothing has moved for long.
async fn delivered(
    database: &Database,
    promised: &BTreeSet<String>,
    rest: Duration,
) -> BTreeMap<String, Story> {
    let mut seen = (usize::MAX, Instant::now());
    loop {
        let stories = read(database).await;
        let done = |order: &&String| stories.get(*order).is_some_and(|story| story.times("DELIVERED") > 0);
        let left = promised.len() - promised.iter().filter(done).count();
        if left < seen.0 {
            seen = (left, Instant::now());
        }
        if left == 0 || seen.1.elapsed() > rest {
            return stories;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn read(database: &Database) -> BTreeMap<String, Story> {
    let mut stories: BTreeMap<String, Story> = BTreeMap::new();
    for row in database.rows(LINES).await {
        let (version, body, stands): (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
        let name = |body: &str| Some(body.split_once("\"order\":\"")?.1.split_once('"')?.0.to_owned());
        let story = stories.entry(name(&body).expect("a line names its order")).or_default();
        story.versions.push(version);
        story.bodies.push(body);
        story.stands = stands;
    }
    stories
}

/// No gap, no step back, and no payment that counts twice; of any order.
fn lines(order: &str, story: &Story, found: &mut Violations) {
    let gapless: Vec<i64> = (1..=story.stands).collect();
    if story.versions != gapless {
        let (versions, stands) = (&story.versions, story.stands);
        found.find("a gap", format!("{order}: the row stands at {stands}, its lines are {versions:?}"));
    }
    for (version, body) in story.versions.iter().zip(&story.bodies) {
        if !body.contains(&format!("\"version\":{version},")) {
            found.find("a line of another version", format!("{order}: line {version}"));
        }
    }
    for kind in ["CREATED", "PAID", "DELIVERED"] {
        let times = story.times(kind);
        if times > 1 {
            let law = if kind == "PAID" { "a double grant" } else { "an event twice" };
            found.find(law, format!("{order}: {kind} {times} times"));
        }
    }
}

/// What was answered 200 is paid and delivered, and was written down once.
fn promise(order: &str, story: &Story, found: &mut Violations) {
    for (kind, law) in [
        ("NOTIFIED", "an acknowledged notification is not there, or there twice"),
        ("PAID", "an acknowledged order is not paid"),
        ("DELIVERED", "an acknowledged order is not delivered"),
    ] {
        let times = story.times(kind);
        if times == 0 || (times > 1 && kind == "NOTIFIED") {
            found.find(law, format!("{order}: {kind} {times} times"));
        }
    }
}

async fn receipts(database: &Database, found: &mut Violations) {
    for row in database.rows(RECEIPTS).await {
        let [count, first, last, series] = [0, 1, 2, 3].map(|column| row.get::<_, i64>(column));
        if (first, last, series) != (1, count, count) {
            let text = format!("{count} receipts, from {first} to {last}, and the series stands at {series}");
            found.find("a receipt's number", text);
        }
    }
}

/// The program's own opinion, from beside the daemons.
async fn verified(fleet: &Fleet, found: &mut Violations) {
    let node = fleet.nodes.last().expect("a node");
    let (code, said) = node.run(&["ledger", "verify"]).await;
    if code != 0 {
        found.find("ledger verify", said);
    }
}

/// An order's mails are one mail, letter for letter.
fn mails(fleet: &Fleet, promised: &BTreeSet<String>, found: &mut Violations) {
    let mut letters: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut orders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for mail in fleet.outside.mailbox.messages() {
        let name = mail.read().message_id;
        let order = name.trim_start_matches('<').split('.').next().unwrap_or_default().to_owned();
        orders.entry(order).or_default().insert(name.clone());
        if letters.entry(name.clone()).or_insert_with(|| mail.raw.clone()) != &mail.raw {
            found.find("a repeated mail differs", name);
        }
    }
    for order in promised {
        let count = orders.get(order).map_or(0, BTreeSet::len);
        if count != 1 {
            found.find("an order's mails are not one", format!("{order}: {count}"));
        }
    }
}

/// Any node shows the same order, and its link opens by way of the balancer.
async fn through_every_node(fleet: &Fleet, promised: &BTreeSet<String>, found: &mut Violations) {
    let mails = fleet.outside.mailbox.messages();
    for order in promised.iter().step_by(promised.len().div_ceil(SAMPLE).max(1)) {
        for node in &fleet.nodes {
            let (status, body) = node.get(&format!("{}/api/orders/{order}", node.admin)).await;
            let shown: Value = serde_json::from_str(&body).unwrap_or_default();
            let once = shown["events"].is_array() && times(&shown, "PAID") == 1;
            if status != 200 || shown["status"] != json!("PAID") || !once {
                found.find("a node shows another order", format!("{order}: {status} {}", shown["status"]));
            }
        }
        let mine = mails.iter().find(|mail| mail.read().message_id.contains(order.as_str()));
        let text = mine.and_then(|mail| mail.read().text).unwrap_or_default();
        let link = text.split_whitespace().find(|word| word.contains("/download/"));
        let file = match link {
            Some(link) => downloaded(fleet, link).await,
            None => None,
        };
        if file.as_deref() != Some(&b"The kit itself.\n"[..]) {
            found.find("a link does not open", order.clone());
        }
    }
}

/// Presses the link's button and fetches the file, each of any node.
async fn downloaded(fleet: &Fleet, link: &str) -> Option<Vec<u8>> {
    let client = &fleet.outside.client;
    let pressed = client.post(link).send().await.ok()?;
    let file = pressed.headers().get("location")?.to_str().ok()?;
    let url = reqwest::Url::parse(link).ok()?.join(file).ok()?;
    let answer = client.get(url).send().await.ok()?;
    Some(answer.bytes().await.ok()?.to_vec())
}
