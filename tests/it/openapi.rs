//! docs/openapi.yaml and the daemon name the same addresses with the same methods.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::contract::{Answer, JSON, ask};
use crate::support::{ADMIN_TOKEN, TestApp};

/// Where each listener's routes are matched.
const ROUTES: &[(&str, &[&str])] = &[
    ("public", &["src/http/mod.rs"]),
    (
        "admin",
        &[
            "src/http/admin/mod.rs",
            "src/http/admin/api.rs",
            "src/http/admin/dashboard.rs",
            "src/http/admin/papers/mod.rs",
        ],
    ),
];
const METHODS: &[&str] = &["get", "head", "post", "put", "patch", "delete", "options"];

/// A path's segments, `_` for a parameter.
type Shape = Vec<String>;

/// One operation's listeners, by path and method.
type Paths = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The document's paths, read by their indentation: 2 for a path, 4 for a method, 6 for its tags.
fn documented() -> Paths {
    let text = read("docs/openapi.yaml");
    let paths = text.split("\npaths:\n").nth(1).unwrap().split("\ncomponents:\n").next().unwrap();
    let mut found = Paths::new();
    let (mut path, mut method) = (String::new(), String::new());
    for line in paths.lines() {
        let bare = line.trim_start();
        match (line.len() - bare.len(), bare.strip_suffix(':')) {
            (2, Some(name)) => path = name.to_owned(),
            (4, Some(name)) => method = name.to_owned(),
            (6, _) if bare.starts_with("tags: ") => {
                let tags =
                    bare["tags: ".len()..].trim_matches(['[', ']']).split(", ").map(str::to_owned).collect();
                found.entry(path.clone()).or_default().insert(method.clone(), tags);
            }
            _ => {}
        }
    }
    assert!(found.len() > 15 && found.values().all(|methods| !methods.is_empty()), "{found:?}");
    found
}

fn shape(path: &str) -> Shape {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(|part| if part.starts_with('{') { "_".to_owned() } else { part.to_owned() }).collect()
}

/// The shapes that `match` arms of the sources name: `["buy", _, _]`, `["healthz" | "readyz"]`.
fn matched(files: &[&str]) -> BTreeSet<Shape> {
    let mut shapes = BTreeSet::new();
    for line in files.iter().flat_map(|file| read(file).lines().map(str::to_owned).collect::<Vec<_>>()) {
        let pattern = line.trim_start();
        let pattern = pattern.split(" if ").next().unwrap().split("=>").next().unwrap();
        if !pattern.starts_with("[\"") && !pattern.starts_with("[]") {
            continue;
        }
        for list in pattern.split(['[', ']']).filter(|part| !part.trim().is_empty() && part.trim() != "|") {
            let parts: Vec<&str> = list.split(',').map(str::trim).collect();
            if !parts.contains(&"..") {
                expand(&parts, Vec::new(), &mut shapes);
            }
        }
        if pattern.contains("[]") {
            shapes.insert(Vec::new());
        }
    }
    shapes
}

fn expand(parts: &[&str], done: Shape, shapes: &mut BTreeSet<Shape>) {
    let Some((part, rest)) = parts.split_first() else {
        shapes.insert(done);
        return;
    };
    for word in part.split('|').map(str::trim) {
        let text = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or("_");
        expand(rest, done.iter().cloned().chain([text.to_owned()]).collect(), shapes);
    }
}

#[test]
fn every_route_is_documented_and_every_documented_path_is_a_route() {
    let documented = documented();
    for (listener, files) in ROUTES {
        let of_listener = |methods: &BTreeMap<String, BTreeSet<String>>| {
            methods.values().any(|tags| tags.contains(*listener))
        };
        let wanted: BTreeSet<Shape> = documented
            .iter()
            .filter(|(_, methods)| of_listener(methods))
            .map(|(path, _)| shape(path))
            .collect();
        assert_eq!(matched(files), wanted, "{listener}: the sources' routes, then the document's");
    }
}

/// An address of this shape that leads somewhere.
fn address(path: &str, order: &str) -> String {
    let filled =
        path.replace("{slug}", "audit-kit").replace("{tier}", "standard").replace("{order_id}", order);
    filled.replace("{act}", "verify").replace("{name}", "style.css").replace("{token}", "a.b.c")
}

fn allowed(answer: &Answer) -> BTreeSet<String> {
    let listed = answer.header("allow").split(',').map(|one| one.trim().to_ascii_lowercase());
    listed.filter(|one| !one.is_empty()).collect()
}

/// Each documented method is answered; each other one is 405 with problem details and exactly the documented methods.
#[tokio::test(flavor = "multi_thread")]
async fn the_methods_are_the_documented_ones() {
    let app = TestApp::start().await;
    let order = app.buy().await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    for (path, methods) in documented() {
        for (listener, base) in [("public", &app.shop), ("admin", &app.admin)] {
            let mut wanted: BTreeSet<String> = methods
                .iter()
                .filter(|(_, tags)| tags.contains(listener))
                .map(|(name, _)| name.clone())
                .collect();
            if wanted.is_empty() {
                continue;
            }
            if wanted.contains("get") {
                wanted.insert("head".to_owned());
            }
            for method in METHODS {
                for slash in ["", "/"] {
                    let url = format!("{base}{}{slash}", address(&path, &order).trim_end_matches('/'));
                    let headers = [JSON, ("authorization", bearer.as_str())];
                    let answer = ask(&app, &method.to_uppercase(), &url, &headers, "").await;
                    let named = format!("{listener} {method} {url}: {} {}", answer.status, answer.body);
                    if wanted.contains(*method) {
                        assert!(answer.status != 405 && answer.status < 500, "{named}");
                    } else {
                        assert_eq!(answer.status, 405, "{named}");
                        if *method != "head" {
                            answer.is_problem(405);
                        }
                        assert_eq!(allowed(&answer), wanted, "{named}");
                    }
                }
            }
        }
    }
}

/// A path that is documented for one listener only is nothing on the other.
#[tokio::test(flavor = "multi_thread")]
async fn each_listener_has_its_own_paths() {
    let app = TestApp::start().await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    for (path, methods) in documented() {
        for (listener, base) in [("public", &app.shop), ("admin", &app.admin)] {
            if methods.values().all(|tags| !tags.contains(listener)) {
                let url = format!("{base}{}", address(&path, "01JD0QZ6Y3V9K2M4N6P8R0S2T4"));
                let answer = ask(&app, "GET", &url, &[JSON, ("authorization", bearer.as_str())], "").await;
                answer.is_problem(404);
            }
        }
    }
}
