//! /admin/: which page answers which address.

use warp::http::Method;
use warp::reply::Response;

use super::desk::{Desk, own};
use super::{Badge, Office, acts, home, list, login, nodes, order};
use crate::http::answer::{self, Problem};
use crate::http::call::Call;

/// Every route under /admin/ but the login.
pub(super) async fn route(office: &Office, mut call: Call, badge: Badge) -> Response {
    let desk = Desk::of(office, &call, badge);
    let segments = std::mem::take(&mut call.segments);
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let post = call.method == Method::POST;
    let outcome = match path.as_slice() {
        ["admin"] if call.looks() => home::show(office, &desk).await,
        ["admin", "orders"] if call.looks() => list::show(office, &call, &desk).await,
        ["admin", "orders"] if post => list::search(office, &mut call, &desk).await,
        ["admin", "orders", id] if call.looks() => order::show(office, &call, &desk, id).await,
        ["admin", "orders", id, act] if call.looks() => acts::confirm(office, &desk, id, act),
        ["admin", "orders", id, act] if post => acts::change(office, &mut call, &desk, id, act).await,
        ["admin", "nodes"] if call.looks() => nodes::show(office, &desk).await,
        ["admin", "logout"] if post => login::leave(office, &mut call, &desk).await,
        ["admin", "login"] if call.looks() => Ok(answer::see_other("/admin/")),
        ["admin", "login"] => Err(Problem::method("GET, HEAD, POST")),
        ["admin"] | ["admin", "nodes"] | ["admin", "orders", _] => Err(Problem::method("GET, HEAD")),
        ["admin", "orders"] | ["admin", "orders", _, _] => Err(Problem::method("GET, HEAD, POST")),
        ["admin", "logout"] => Err(Problem::method("POST")),
        _ => Err(Problem::not_found()),
    };
    match outcome {
        Ok(answer) => own(answer),
        Err(problem) => desk.refuse(&call, &problem),
    }
}
