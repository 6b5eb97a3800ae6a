//! A real Prometheus scrapes a daemon under load; the dashboard's panels and the rules are asked of it.
//! `tests/prometheus/run` installs it.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use auditshield::telemetry::{METRICS, process};
use serde_json::Value;

use crate::process_support::{PATIENCE, World, has_tools, port};

/// Sales before Prometheus is asked.
const SALES: usize = 5;

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file)
}

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(shipped("grafana/auditshield.json")).unwrap()).unwrap()
}

/// Every panel's title and expressions: those that one daemon alone has series for, and those of the row that needs a
/// database with several.
pub(crate) fn expressions() -> [Vec<(String, String)>; 2] {
    let (mut found, mut row) = ([Vec::new(), Vec::new()], 0);
    for panel in dashboard()["panels"].as_array().unwrap() {
        if panel["type"] == "row" {
            assert_eq!(panel["title"], "Nœuds · Cluster");
            row = 1;
            continue;
        }
        for target in panel["targets"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            found[row].push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    assert!(found[0].len() >= 18 && found[1].len() >= 9, "the panels were not found");
    found
}

/// A world that has sold something, downloads and a refused notification included.
async fn busy() -> World {
    let mut world = World::new(&[]).await;
    world.start().await;
    for sold in 1..=SALES {
        let order = world.buy().await;
        world.cinetpay.approve(&order).unwrap();
        world.until(&order, "DELIVERED").await;
        let mail = world.mailbox.wait_for(sold, PATIENCE).await;
        let text = mail.last().unwrap().read().text.unwrap();
        let start = text.find("http").unwrap();
        let link = text[start..].split_whitespace().find(|word| word.contains("/download/")).unwrap();
        assert_eq!(world.client.post(link).send().await.unwrap().status(), 303);
    }
    world
}

pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prometheus with the shipped configuration, at this daemon and every 200 ms.
pub(crate) fn prometheus(world: &World) -> (Running, String) {
    let folder = world.path("prometheus");
    std::fs::create_dir(&folder).unwrap();
    let rules = "auditshield.rules.yml";
    std::fs::copy(shipped(&format!("prometheus/{rules}")), folder.join(rules)).unwrap();
    let text = std::fs::read_to_string(shipped("prometheus/prometheus.yml")).unwrap();
    let admin = world.admin.trim_start_matches("http://");
    let text = text.replace("127.0.0.1:8001", admin).replace("15s", "200ms\n  evaluation_interval: 200ms");
    assert!(text.contains(admin) && text.contains("200ms"));
    std::fs::write(folder.join("prometheus.yml"), text).unwrap();
    let address = format!("127.0.0.1:{}", port());
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("said")).unwrap())
        .spawn()
        .expect("prometheus; tests/prometheus/run installs it");
    (Running(child), format!("http://{address}"))
}

/// Waits until each of these shows something, with more sales meanwhile: a rate needs something that grows while it is
/// watched. How many sales that took.
pub(crate) async fn each_shows(
    world: &World,
    place: &str,
    asked: impl Iterator<Item = (String, String)>,
) -> usize {
    let (begun, mut sold) = (Instant::now(), 0);
    for (title, expression) in asked {
        loop {
            let found = ask(world, place, &expression).await.unwrap_or_default();
            // NaN: a quantile of nothing.
            if found.iter().any(|series| series["value"][1] != "NaN") {
                break;
            }
            assert!(begun.elapsed() < PATIENCE * 2, "{title}: {expression} shows nothing: {found:?}");
            let order = world.buy().await;
            world.cinetpay.approve(&order).unwrap();
            world.until(&order, "DELIVERED").await;
            sold += 1;
        }
    }
    let alerts = ask(world, place, "ALERTS{alertstate=\"firing\"}").await.unwrap();
    assert!(alerts.is_empty(), "a daemon in good health raises alarms: {alerts:?}");
    sold
}

/// The series that an expression gives; none while Prometheus does not answer.
async fn ask(world: &World, place: &str, expression: &str) -> Option<Vec<Value>> {
    let url =
        reqwest::Url::parse_with_params(&format!("{place}/api/v1/query"), [("query", expression)]).unwrap();
    let answer: Value = world.client.get(url).send().await.ok()?.json().await.ok()?;
    assert_eq!(answer["status"], "success", "{expression}: {answer}");
    Some(answer["data"]["result"].as_array().unwrap().clone())
}

#[tokio::test]
async fn every_panel_shows_something() {
    if !has_tools("tests/prometheus/run") {
        return;
    }
    let world = busy().await;
    let (_running, place) = prometheus(&world);
    let recordings = std::fs::read_to_string(shipped("prometheus/auditshield.rules.yml")).unwrap();
    let recordings = recordings.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    let recordings = recordings.map(|name| (name.to_owned(), name.to_owned()));
    let [of_one, _] = expressions();
    let sold = SALES + each_shows(&world, &place, of_one.into_iter().chain(recordings)).await;
    let counted = ask(&world, &place, "sum(auditshield_paid_total)").await.unwrap();
    let counted: usize = counted[0]["value"][1].as_str().unwrap().parse().unwrap();
    assert!((SALES..=sold).contains(&counted), "{counted} of {sold}");
}

#[tokio::test]
async fn promtool_has_nothing_to_say_about_the_metrics() {
    if !has_tools("tests/prometheus/run") {
        return;
    }
    let world = busy().await;
    let metrics = world.metrics().await;
    assert_eq!(promtool(&metrics), (true, String::new()), "{metrics}");
    // It can complain.
    assert!(!promtool("# TYPE auditshield_things counter\nauditshield_things 1\n").0);
}

/// Whether `promtool check metrics` finds this good, and what it says.
pub(crate) fn promtool(text: &str) -> (bool, String) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let mut known: BTreeSet<String> = METRICS.iter().map(|(_, name, _)| (*name).to_owned()).collect();
    for (_, name, _) in METRICS {
        known.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
    }
    let own = process::render();
    let own = own.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    known.extend(own.map(ToOwned::to_owned));
    let rules = std::fs::read_to_string(shipped("prometheus/auditshield.rules.yml")).unwrap();
    let rules = rules.lines().filter(|line| line.contains("expr:")).map(ToOwned::to_owned);
    let texts: Vec<String> =
        rules.chain(expressions().concat().into_iter().map(|(_, expression)| expression)).collect();
    assert!(texts.len() > 30);
    for text in texts {
        // A recording's name has a colon behind its first word.
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')) {
            let metric = word.starts_with("auditshield_") || word.starts_with("process_");
            assert!(!metric || known.contains(word), "{word} in {text}");
        }
    }
}

/// The lines of `text` that begin with `start`, each without it, to the first space.
fn names<'a>(text: &'a str, start: &'a str) -> BTreeSet<&'a str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(start)?.split(' ').next()).collect()
}

#[test]
fn each_alert_is_tested_both_ways_and_explained_and_nothing_else_is() {
    let rules = std::fs::read_to_string(shipped("prometheus/auditshield.rules.yml")).unwrap();
    let cases = std::fs::read_to_string(shipped("prometheus/auditshield.rules.test.yml")).unwrap();
    let guide = std::fs::read_to_string(shipped("../docs/incidents.md")).unwrap();
    let alerts = names(&rules, "- alert: ");
    assert!(alerts.len() > 10, "the alerts were not found");
    assert_eq!(names(&guide, "## "), alerts, "docs/incidents.md");
    for words in [" fires", " is silent"] {
        let tested = cases.lines().filter(|line| line.contains("- name: ") && line.contains(words));
        let tested: BTreeSet<_> = tested.filter_map(|line| line.trim().split(' ').nth(2)).collect();
        assert_eq!(tested, alerts, "auditshield.rules.test.yml:{words}");
    }
    for alert in &alerts {
        let link = format!("runbook: docs/incidents.md#{}", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} does not lead to its words");
    }
}
