//! What a person may do to an order: what is offered in which status, what it will bring about, who does it and why.

use askama::Template;
use warp::http::StatusCode;
use warp::reply::Response;

use super::desk::{Desk, form};
use super::view::status_words;
use super::{Office, api, privacy};
use crate::domain::event::Decision;
use crate::domain::input::Input;
use crate::domain::payment::{LinkState, Payment, Status};
use crate::domain::personal::objection;
use crate::domain::values::{Claimed, Email, NAME_BYTES_MAX, Timestamp};
use crate::domain::wishes::BUYER;
use crate::domain::words;
use crate::http::answer::{self, Problem};
use crate::http::call::{Call, Fields};

/// Longest reason, in characters.
const NOTE_CHARS_MAX: usize = 500;

/// Something to do, in words.
pub(super) struct Act {
    /// Its name in addresses, in the API and on the command line.
    pub(super) name: &'static str,
    /// What its button says.
    pub(super) label: &'static str,
    /// What it brings about.
    pub(super) consequence: String,
    /// Whether money or access changes: then somebody says why.
    pub(super) reasoned: bool,
}

#[derive(Template)]
#[template(path = "admin_act.html")]
struct Confirm<'a> {
    desk: Desk,
    order: String,
    status: &'static str,
    amount: String,
    buyer: &'a str,
    act: Act,
    note: &'a str,
    email: &'a str,
    /// What is wrong with the form, or nothing.
    message: &'a str,
    /// The field that is wrong, or nothing.
    wrong: &'a str,
}

/// The name under which somebody acts: one line, and not the buyer's.
pub(super) fn signer(text: &str) -> Result<String, Problem> {
    let name = text.trim();
    let readable = name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if !readable || name.eq_ignore_ascii_case(BUYER) {
        return Err(Problem::field(
            "by",
            "Ce nom est trop long, illisible, ou réservé à l’acheteur.",
            "This name is too long, unreadable, or the buyer's.",
        ));
    }
    Ok(name.to_owned())
}

/// Why somebody acts; may be empty.
pub(super) fn reason(fields: &Fields) -> Result<String, Problem> {
    let note = fields.get("note").map_or("", str::trim);
    let plain = |one: char| !one.is_control() || one == '\n' || one == '\r';
    if note.chars().count() > NOTE_CHARS_MAX || !note.chars().all(plain) {
        return Err(Problem::field(
            "note",
            "La note est trop longue ou illisible.",
            "The note is too long or unreadable.",
        ));
    }
    Ok(note.to_owned())
}

/// The act of this name, by this person. An unknown name is 404.
pub(super) fn input(act: &str, by: Decision, fields: &Fields) -> Result<Input, Problem> {
    Ok(match act {
        "verify" => Input::Verify,
        "resend" => Input::Resend(by),
        "address" => Input::Correct(address(fields)?, by),
        "approve" => Input::Approve(by),
        "reject" => Input::Reject(by),
        "refund" => Input::Refund(by),
        "revoke" => Input::Revoke(by),
        "erase" => Input::Erase { by: by.by, force: false },
        _ => return Err(Problem::not_found()),
    })
}

pub(super) fn address(fields: &Fields) -> Result<Email, Problem> {
    Email::parse(fields.get("email").unwrap_or_default()).map_err(|_| {
        Problem::field(
            "email",
            "Cette adresse e-mail n’est pas valable.",
            "This e-mail address is not valid.",
        )
    })
}

/// What may be done to an order as it stands, the likeliest first.
pub(super) fn offered(desk: &Desk, payment: &Payment, now: Timestamp) -> Vec<Act> {
    let mut acts = business(desk, payment, now);
    if payment.buyer.is_erased() {
        acts.retain(|act| !matches!(act.name, "resend" | "address"));
    } else if objection(payment).is_none() {
        acts.push(privacy::act(desk));
    }
    acts
}

fn business(desk: &Desk, payment: &Payment, now: Timestamp) -> Vec<Act> {
    match &payment.status {
        Status::Created(_) | Status::Pending { .. } | Status::Failed { .. } | Status::Expired { .. } => {
            vec![verify(desk), readdress(desk, payment)]
        }
        Status::Review { claimed, .. } => {
            vec![approve(desk, payment, *claimed), reject(desk), verify(desk), readdress(desk, payment)]
        }
        Status::Paid(sale) => {
            let mut acts = vec![resend(desk, payment, sale.link.state(now)), readdress(desk, payment)];
            if !sale.link.revoked {
                acts.push(revoke(desk));
            }
            acts.push(refund(desk, payment));
            acts
        }
        Status::Refunded(_) => Vec::new(),
    }
}

fn verify(desk: &Desk) -> Act {
    Act {
        name: "verify",
        label: desk.say("Vérifier auprès de CinetPay", "Ask CinetPay now"),
        consequence: desk
            .say(
                "CinetPay est interrogé tout de suite. S’il dit le paiement accepté, au bon montant, la commande devient payée et le lien part à l’acheteur. Sinon, rien ne change.",
                "CinetPay is asked at once. If it says that the right amount was paid, the order becomes paid and the link goes to the buyer. Otherwise nothing changes.",
            )
            .to_owned(),
        reasoned: false,
    }
}

fn resend(desk: &Desk, payment: &Payment, link: LinkState) -> Act {
    let (fr, en) = match link {
        LinkState::Live => (
            "Le même lien repart. Sa date limite et son compte de téléchargements ne changent pas. L’e-mail va à",
            "The same link is sent again. Its end and its count of downloads stay as they are. The mail goes to",
        ),
        LinkState::Expired | LinkState::UsedUp => (
            "Le lien n’était plus valable : il reprend vie, avec une nouvelle date limite et tous ses téléchargements. L’e-mail va à",
            "The link did not work any more: it comes back to life, with a new end and all its downloads. The mail goes to",
        ),
        LinkState::Revoked => (
            "Le lien avait été désactivé et le reste ; un nouveau lien est créé. L’e-mail va à",
            "The link was withdrawn and stays so; a new link is made. The mail goes to",
        ),
    };
    Act {
        name: "resend",
        label: desk.say("Renvoyer l’e-mail", "Send the mail again"),
        consequence: format!("{} {}.", desk.say(fr, en), payment.buyer.email.expose()),
        reasoned: link != LinkState::Live,
    }
}

fn readdress(desk: &Desk, payment: &Payment) -> Act {
    let (fr, en) = match &payment.status {
        Status::Paid(sale) if sale.link.revoked => (
            "L’adresse est corrigée. Le lien reste désactivé : renvoyez ensuite l’e-mail pour en créer un autre.",
            "The address is corrected. The link stays withdrawn: send the mail again afterwards to make another one.",
        ),
        Status::Paid(_) => (
            "Le lien déjà envoyé ne marche plus, où qu’il soit arrivé. Un nouveau lien part à la nouvelle adresse, avec tous ses téléchargements.",
            "The link that was sent stops working, wherever it arrived. A new link goes to the new address, with all its downloads.",
        ),
        Status::Created(_)
        | Status::Pending { .. }
        | Status::Failed { .. }
        | Status::Review { .. }
        | Status::Expired { .. }
        | Status::Refunded(_) => (
            "Une fois la commande payée, l’e-mail partira à la nouvelle adresse.",
            "Once the order is paid, the mail goes to the new address.",
        ),
    };
    Act {
        name: "address",
        label: desk.say("Corriger l’adresse e-mail", "Correct the e-mail address"),
        consequence: desk.say(fr, en).to_owned(),
        reasoned: true,
    }
}

fn approve(desk: &Desk, payment: &Payment, claimed: Claimed) -> Act {
    let (price, paid) = (words::amount(payment.price, desk.lang()), claimed_words(desk, claimed));
    let email = payment.buyer.email.expose();
    let fr = format!(
        "CinetPay annonce {paid} et la commande coûte {price}. En approuvant, vous la tenez pour payée : le lien part à {email}. Cela ne s’annule pas."
    );
    let en = format!(
        "CinetPay says {paid} and the order costs {price}. By approving you take it for paid: the link goes to {email}. This cannot be undone."
    );
    Act {
        name: "approve",
        label: desk.say("Approuver le paiement", "Approve the payment"),
        consequence: desk.say(&fr, &en).to_owned(),
        reasoned: true,
    }
}

fn reject(desk: &Desk) -> Act {
    Act {
        name: "reject",
        label: desk.say("Rejeter", "Reject"),
        consequence: desk
            .say(
                "La commande devient refusée et rien n’est livré. L’argent reçu n’est pas rendu par AuditShield : faites-le dans le back-office de CinetPay.",
                "The order becomes failed and nothing is delivered. AuditShield does not give the money back: do so in CinetPay's back office.",
            )
            .to_owned(),
        reasoned: true,
    }
}

fn revoke(desk: &Desk) -> Act {
    Act {
        name: "revoke",
        label: desk.say("Désactiver le lien", "Withdraw the link"),
        consequence: desk
            .say(
                "Le lien cesse de marcher tout de suite. La commande reste payée ; renvoyer l’e-mail crée un autre lien.",
                "The link stops working at once. The order stays paid; sending the mail again makes another link.",
            )
            .to_owned(),
        reasoned: true,
    }
}

fn refund(desk: &Desk, payment: &Payment) -> Act {
    let price = words::amount(payment.price, desk.lang());
    let fr = format!(
        "Vous notez que {price} ont été rendus à l’acheteur : AuditShield ne verse rien lui-même. Le lien est désactivé et la commande reste remboursée. Cela ne s’annule pas."
    );
    let en = format!(
        "You note that {price} went back to the buyer: AuditShield pays nothing out itself. The link is withdrawn and the order stays refunded. This cannot be undone."
    );
    Act {
        name: "refund",
        label: desk.say("Noter un remboursement", "Record a refund"),
        consequence: desk.say(&fr, &en).to_owned(),
        reasoned: true,
    }
}

/// What CinetPay says was paid, as far as it says so.
pub(super) fn claimed_words(desk: &Desk, claimed: Claimed) -> String {
    match (claimed.amount, claimed.currency) {
        (Some(units), Some(currency)) => words::sum(units, currency, desk.lang()),
        (Some(units), None) => {
            let units = words::figure(&units.to_string(), desk.lang());
            format!("{units} {}", desk.say("dans une monnaie inconnue", "in an unknown currency"))
        }
        (None, Some(_) | None) => desk.say("un montant illisible", "an unreadable amount").to_owned(),
    }
}

/// `GET /admin/orders/…/<act>/`: what it will bring about, before it does.
pub(super) fn confirm(office: &Office, desk: &Desk, id: &str, act: &str) -> Result<Response, Problem> {
    let payment = office.deps.load(api::known(id)?)?.ok_or_else(api::unknown)?;
    asked(office, desk, &payment, act, &Fields::default(), None)
}

/// The question, with what was typed and what is wrong with it.
fn asked(
    office: &Office,
    desk: &Desk,
    payment: &Payment,
    name: &str,
    fields: &Fields,
    problem: Option<&Problem>,
) -> Result<Response, Problem> {
    let offered = offered(desk, payment, office.deps.now()).into_iter().find(|one| one.name == name);
    let act = match (offered, problem) {
        (Some(act), _) => act,
        // Said by the order itself: its answer is better than ours.
        (None, Some(problem)) => return Err(problem.clone()),
        (None, None) if known(name) => {
            return Err(crate::domain::decide::Refusal::Status(payment.status_name()).into());
        }
        (None, None) => return Err(Problem::not_found()),
    };
    let page = Confirm {
        order: payment.id.to_string(),
        status: status_words(desk, payment.status_name()),
        amount: words::amount(payment.price, desk.lang()),
        buyer: payment.buyer.email.expose(),
        act,
        note: fields.get("note").unwrap_or_default(),
        email: fields.get("email").unwrap_or_default(),
        message: problem.map(|problem| problem.text(desk.lang())).unwrap_or_default(),
        wrong: problem.and_then(|problem| problem.field).unwrap_or_default(),
        desk: desk.at("orders"),
    };
    let answer = answer::page(StatusCode::OK, &page);
    Ok(match problem {
        Some(problem) => problem.finish(answer),
        None => answer,
    })
}

fn known(name: &str) -> bool {
    let nobody = Decision { by: String::new(), note: String::new() };
    !matches!(input(name, nobody, &Fields::default()), Err(problem) if problem.status == StatusCode::NOT_FOUND)
}

/// `POST /admin/orders/…/<act>/`: confirmed, with a reason where one is owed.
pub(super) async fn change(
    office: &Office,
    call: &mut Call,
    desk: &Desk,
    id: &str,
    act: &str,
) -> Result<Response, Problem> {
    let fields = form(call).await?;
    desk.genuine(&fields)?;
    let order = api::known(id)?;
    let payment = office.deps.load(order)?.ok_or_else(api::unknown)?;
    let wish = wished(office, desk, &payment, act, &fields);
    let outcome = match wish {
        Ok(wish) => api::enact(&office.deps, order, act, wish).await,
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(_) => Ok(answer::see_other(&format!("/admin/orders/{order}/?done={act}"))),
        Err(problem) if problem.status == StatusCode::NOT_FOUND => Err(problem),
        Err(problem) => asked(office, desk, &payment, act, &fields, Some(&problem)),
    }
}

/// The act as the form asks for it. The name is the session's: nobody signs for somebody else here.
fn wished(
    office: &Office,
    desk: &Desk,
    payment: &Payment,
    act: &str,
    fields: &Fields,
) -> Result<Input, Problem> {
    let note = reason(fields)?;
    let input = input(act, Decision { by: desk.name().to_owned(), note: note.clone() }, fields)?;
    let owed = offered(desk, payment, office.deps.now()).iter().any(|one| one.name == act && one.reasoned);
    if owed && note.is_empty() {
        return Err(Problem::field(
            "note",
            "Dites pourquoi : le motif reste dans le journal.",
            "Say why: the reason stays in the journal.",
        ));
    }
    Ok(input)
}

/// What was just done, for the order's page.
pub(super) fn done(desk: &Desk, act: &str) -> &'static str {
    let (fr, en) = match act {
        "verify" => ("CinetPay a été interrogé.", "CinetPay was asked."),
        "resend" => ("L’e-mail repart.", "The mail is on its way again."),
        "address" => ("L’adresse est corrigée.", "The address is corrected."),
        "approve" => {
            ("Le paiement est approuvé, le lien part.", "The payment is approved, the link is on its way.")
        }
        "reject" => ("Le paiement est rejeté.", "The payment is rejected."),
        "refund" => ("Le remboursement est noté.", "The refund is recorded."),
        "revoke" => ("Le lien est désactivé.", "The link is withdrawn."),
        "erase" => ("Les données personnelles sont effacées.", "The personal data are erased."),
        _ => ("", ""),
    };
    desk.say(fr, en)
}
