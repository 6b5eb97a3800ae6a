//! What every page of the dashboard has: a language, a session with its proof, a place among the others.

use askama::Template;
use warp::http::header::REFERRER_POLICY;
use warp::reply::Response;

use super::session::Session;
use super::{Badge, Office, strange_form};
use crate::domain::calendar::Zone;
use crate::domain::values::{Lang, Timestamp};
use crate::domain::words;
use crate::http::answer::{self, Problem};
use crate::http::call::{Call, Fields};
use crate::http::pages::Frame;

/// Largest form, in bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// A date and a time without its seconds.
const SHORT_CHARS: usize = 16;
/// Who acts where nobody gave a name.
pub(super) const NOBODY_NAMED: &str = "admin";

/// The frame of a page.
#[derive(Clone)]
pub(super) struct Desk {
    /// Language, shop and switch.
    pub(super) frame: Frame,
    /// Who is here by a cookie; a bearer token needs no proof.
    session: Option<Session>,
    /// Whether the menu and the way out are shown.
    inside: bool,
    here: &'static str,
    /// The merchant's clock.
    zone: Zone,
    /// Whether several daemons share the ledger.
    shared: bool,
}

/// A heading and a text: what cannot be done, and why.
#[derive(Template)]
#[template(path = "admin_notice.html")]
struct Notice<'a> {
    desk: Desk,
    heading: &'a str,
    text: &'a str,
}

impl Desk {
    /// Of who came in with this badge.
    pub(super) fn of(office: &Office, call: &Call, badge: Badge) -> Self {
        let session = match badge {
            Badge::Cookie(session) => Some(session),
            Badge::Bearer => None,
        };
        let (zone, shared) = (office.deps.settings.zone, office.deps.ledger.is_shared());
        Self { frame: framed(call), session, inside: true, here: "", zone, shared }
    }
    /// Of who stands at the door.
    pub(super) fn outside(call: &Call) -> Self {
        let (zone, shared) = (Zone::UTC, false);
        Self { frame: framed(call), session: None, inside: false, here: "", zone, shared }
    }
    /// The same at this place of the menu.
    pub(super) fn at(&self, here: &'static str) -> Self {
        Self { here, ..self.clone() }
    }
    /// The same with a language switch that leads to this address; it ends with `?` or `&`.
    pub(super) fn switching(self, address: String) -> Self {
        Self { frame: self.frame.switching(address), ..self }
    }
    /// Whether the menu marks this place.
    pub(super) fn is_at(&self, place: &str) -> bool {
        self.here == place
    }
    /// Whether the menu is shown.
    pub(super) fn inside(&self) -> bool {
        self.inside
    }
    /// Whether there may be several nodes to show.
    pub(super) fn shared(&self) -> bool {
        self.shared
    }
    /// The text in the page's language.
    pub(super) fn say<'a>(&self, fr: &'a str, en: &'a str) -> &'a str {
        self.frame.say(fr, en)
    }
    /// The page's language.
    pub(super) fn lang(&self) -> Lang {
        self.frame.lang()
    }
    /// A moment in words, on the merchant's clock.
    pub(super) fn moment(&self, at: Timestamp) -> String {
        words::local_moment(at, self.zone, self.lang())
    }
    /// `2026-11-23 09:15` on the merchant's clock: in tables, where columns align.
    pub(super) fn short_moment(&self, at: Timestamp) -> String {
        let clock = self.zone.clock(at);
        clock.get(..SHORT_CHARS).unwrap_or(&clock).to_owned()
    }
    /// The merchant's clock: `UTC`, `UTC+01:00`.
    pub(super) fn zone(&self) -> Zone {
        self.zone
    }
    /// What forms bring along; empty for a bearer token, which no other site can send.
    pub(super) fn csrf(&self) -> &str {
        self.session.as_ref().map_or("", |session| &session.csrf)
    }
    /// The name under which acts are written down.
    pub(super) fn name(&self) -> &str {
        self.session.as_ref().map_or(NOBODY_NAMED, |session| &session.name)
    }
    /// The session, if it is one.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }
    /// Whether a form comes from this session's own pages.
    pub(super) fn genuine(&self, fields: &Fields) -> Result<(), Problem> {
        match &self.session {
            Some(session) if fields.get("csrf") != Some(session.csrf.as_str()) => Err(strange_form()),
            Some(_) | None => Ok(()),
        }
    }
    /// A problem, as the client asked for it.
    pub(super) fn refuse(&self, call: &Call, problem: &Problem) -> Response {
        if call.accepts_json() {
            return problem.json(call.lang());
        }
        let (fr, en) = problem.heading();
        let notice =
            Notice { heading: self.say(fr, en), text: problem.text(self.lang()), desk: self.clone() };
        own(problem.finish(answer::page(problem.status, &notice)))
    }
}

/// Every form here is answered at an address that can be looked at too: the switch stays there.
fn framed(call: &Call) -> Frame {
    Frame::of(call).switching("?".to_owned())
}

/// A form's fields.
pub(super) async fn form(call: &mut Call) -> Result<Fields, Problem> {
    let body = call.body(FORM_BYTES_MAX).await?;
    Fields::parse(&body)
        .ok_or_else(|| Problem::bad_request("Le formulaire est illisible.", "The form is unreadable."))
}

/// Forms of the dashboard tell us, and only us, where they come from.
pub(super) fn own(mut answer: Response) -> Response {
    answer::set(&mut answer, REFERRER_POLICY, "same-origin");
    answer
}
