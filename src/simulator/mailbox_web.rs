//! The mailbox in a browser at /mailbox/, and as JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json as j};
use warp::http::{HeaderValue, StatusCode};

use super::mailbox::{Fault, Mail, Mailbox};
use super::mailbox_mime::read;
use super::page::{escape, layout};
use super::{Reply, html, json, text};

/// Pages below /mailbox/: the list, `<number>` one mail, `<number>/html` its HTML part alone.
pub(super) fn mailbox_routes(mailbox: Option<&Mailbox>, segments: &[&str]) -> Reply {
    let Some(mailbox) = mailbox else { return text(StatusCode::NOT_FOUND, "no mailbox here") };
    match segments {
        [] => index(&mailbox.messages()),
        [number] => with(mailbox, number, show),
        [number, "html"] => with(mailbox, number, html_part),
        _ => text(StatusCode::NOT_FOUND, "no such page"),
    }
}

/// GET /control/mails.
pub(super) fn list(mailbox: Option<&Mailbox>) -> Reply {
    let mails: Vec<Value> = mailbox.map(Mailbox::messages).unwrap_or_default().iter().map(as_json).collect();
    json(StatusCode::OK, &j!({"mails": mails}))
}

/// PUT /control/mails/fault: a fault, or `null` to lift it.
pub(super) fn set_fault(mailbox: Option<&Mailbox>, body: &[u8]) -> Reply {
    let Some(mailbox) = mailbox else {
        return json(StatusCode::NOT_FOUND, &j!({"message": "no mailbox here"}));
    };
    match serde_json::from_slice::<Option<Fault>>(body) {
        Ok(fault) => {
            mailbox.set_fault(fault);
            json(StatusCode::OK, &j!({"fault": mailbox.fault()}))
        }
        Err(error) => json(StatusCode::BAD_REQUEST, &j!({"message": error.to_string()})),
    }
}

fn as_json(mail: &Mail) -> Value {
    let seen = read(&mail.raw);
    j!({
        "number": mail.number,
        "from": mail.from,
        "to": mail.to,
        "subject": seen.subject,
        "message_id": seen.message_id,
        "text": seen.text,
        "html": seen.html,
        "raw": String::from_utf8_lossy(&mail.raw),
    })
}

fn with(mailbox: &Mailbox, number: &str, page: fn(&Mail) -> Reply) -> Reply {
    let found = mailbox.messages().into_iter().find(|mail| mail.number.to_string() == number);
    found.map_or_else(|| text(StatusCode::NOT_FOUND, "no such mail"), |mail| page(&mail))
}

fn index(mails: &[Mail]) -> Reply {
    let mut rows = String::new();
    for mail in mails.iter().rev() {
        let _ = write!(
            rows,
            "<li><a href=\"/mailbox/{}\">{}</a><span>{}</span></li>",
            mail.number,
            escape(
                &Some(read(&mail.raw).subject)
                    .filter(|s| !s.is_empty())
                    .unwrap_or_else(|| "(sans objet)".into())
            ),
            escape(&mail.to.join(", ")),
        );
    }
    if rows.is_empty() {
        rows.push_str("<li>Aucun message pour l'instant · No mail yet</li>");
    }
    layout(
        "Boîte aux lettres",
        &format!("<h1>Boîte aux lettres <small>Mailbox</small></h1>\n<ul class=\"list\">{rows}</ul>"),
    )
}

fn show(mail: &Mail) -> Reply {
    let seen = read(&mail.raw);
    let mut main = format!(
        "<p><a href=\"/mailbox/\">← Boîte aux lettres · Mailbox</a></p>\n<h1>{}</h1>\n<p class=\"ref\">{} → {}</p>\n",
        escape(&seen.subject),
        escape(&mail.from),
        escape(&mail.to.join(", ")),
    );
    if let Some(body) = &seen.text {
        let _ = writeln!(main, "<section class=\"card\"><pre>{}</pre></section>", linked(body));
    }
    if seen.html.is_some() {
        let _ = write!(
            main,
            "<h2>HTML</h2>\n<iframe title=\"HTML\" sandbox=\"allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation\" src=\"/mailbox/{0}/html\"></iframe>\n\
             <p><a href=\"/mailbox/{0}/html\">Seul dans la page · On its own</a></p>",
            mail.number
        );
    }
    layout(&seen.subject, &main)
}

/// The HTML part alone. It comes from outside: no scripts, nothing loaded.
fn html_part(mail: &Mail) -> Reply {
    let Some(part) = read(&mail.raw).html else { return text(StatusCode::NOT_FOUND, "no HTML part") };
    let part = format!("<base target=\"_top\">\n{part}");
    let mut reply = html(StatusCode::OK, part);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                  sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation";
    reply.headers_mut().insert("content-security-policy", HeaderValue::from_static(policy));
    reply
}

/// Escaped text whose http(s) addresses are links.
fn linked(body: &str) -> String {
    let mut out = String::new();
    for piece in body.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let blank = piece.strip_prefix(word).unwrap_or_default();
        let start = word.find("http://").or_else(|| word.find("https://"));
        let Some(start) = start else {
            out.push_str(&escape(piece));
            continue;
        };
        let (before, address) = word.split_at(start);
        let address = address.trim_end_matches(['.', ',', ')', '>', ';']);
        let after = word.get(start + address.len()..).unwrap_or_default();
        let (before, shown, after) = (escape(before), escape(address), escape(after));
        let _ = write!(out, "{before}<a href=\"{shown}\">{shown}</a>{after}{blank}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::linked;

    #[test]
    fn addresses_become_links_and_the_rest_is_escaped() {
        assert_eq!(
            linked("Lien <https://a.ci/d?x=1&y=2>.\nfin"),
            "Lien &lt;<a href=\"https://a.ci/d?x=1&amp;y=2\">https://a.ci/d?x=1&amp;y=2</a>&gt;.\nfin"
        );
    }
}
