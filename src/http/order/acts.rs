//! What a buyer does on an order's page: pay after all, download, have the mail sent again, correct the address.

use std::sync::Arc;

use warp::http::StatusCode;
use warp::http::header::HeaderName;
use warp::reply::Response;

use super::{Key, Opened, is_proof, open, page};
use crate::actors::AskError;
use crate::domain::decide::Refusal;
use crate::domain::input::Input;
use crate::domain::payment::Status;
use crate::domain::slips;
use crate::domain::values::Email;
use crate::domain::wishes::SEND_AGAIN_SECONDS;
use crate::http::answer::{self, Problem};
use crate::http::call::{Call, Fields};
use crate::http::{Site, download};

/// Largest form, in bytes.
const FORM_BYTES_MAX: usize = 4 * 1024;
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// POST `/commande/<order id>/<act>/`.
pub(crate) async fn act(site: &Arc<Site>, mut call: Call) -> Response {
    let done = acted(site, &mut call).await;
    download::private(done.unwrap_or_else(|problem| problem.answer_page(&call)))
}

async fn acted(site: &Arc<Site>, call: &mut Call) -> Result<Response, Problem> {
    let opened = open(&site.deps, call)?;
    // Browsers say where a form comes from; the cookie (SameSite) and the proof are for those that do not.
    if call.header(&SEC_FETCH_SITE).is_some_and(|from| !matches!(from, "same-origin" | "none")) {
        return Err(strange());
    }
    let body = call.body(FORM_BYTES_MAX).await?;
    let fields = Fields::parse(&body).unwrap_or_default();
    let act = call.segments.get(2).cloned().unwrap_or_default();
    // The way to the payment page also stands on the return page, which knows no secret.
    let proven = fields.get("proof").is_some_and(|given| is_proof(&site.deps, opened.payment.id, given));
    if act != "payer" && !proven {
        return Err(strange());
    }
    match act.as_str() {
        "payer" => pay(site, call, &opened).await,
        "telecharger" => fetch(site, call, &opened).await,
        "renvoyer" => send_again(site, call, &opened).await,
        _ => readdress(site, call, &opened, &fields).await,
    }
}

/// 403: the form was not sent from the order's page.
fn strange() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "strange-form").explained(
        "Ce formulaire ne vient pas de votre page de commande. Rouvrez-la, puis recommencez.",
        "This form does not come from your order's page. Open it again, then try once more.",
    )
}

/// On to the payment page: the one that is open, or another one after a refusal. Never another order.
async fn pay(site: &Site, call: &Call, opened: &Opened) -> Result<Response, Problem> {
    site.deps.pass(&site.deps.gates.buy, call)?;
    let order = opened.payment.id;
    let home = || answer::see_other(&format!("/commande/{order}/"));
    match site.deps.orders.submit(order, Input::Retry).await {
        Ok(receipt) => match &receipt.payment.payment_url {
            Some(url) if matches!(receipt.payment.status, Status::Pending { .. }) => {
                Ok(answer::see_other(url))
            }
            Some(_) | None => Ok(home()),
        },
        // Paid meanwhile, in review or over: its page says what is the matter.
        Err(AskError::Refused(_)) => Ok(home()),
        Err(AskError::Late) => Err(AskError::NotOpened(String::new()).into()),
        Err(error) => Err(error.into()),
    }
}

/// One of the link's downloads, without the way over the mail.
async fn fetch(site: &Arc<Site>, call: &Call, opened: &Opened) -> Result<Response, Problem> {
    site.deps.pass(&site.deps.gates.download, call)?;
    let order = opened.payment.id;
    let link = opened.payment.sale().map_or(0, |sale| sale.link.number);
    download::start_link(site, order, link).await
}

async fn send_again(site: &Site, call: &Call, opened: &Opened) -> Result<Response, Problem> {
    site.deps.pass(&site.deps.gates.recover, call)?;
    let order = opened.payment.id;
    match site.deps.orders.submit(order, Input::SendAgain).await {
        Ok(_) => Ok(answer::see_other(&format!("/commande/{order}/?fait=renvoi"))),
        Err(AskError::Refused(Refusal::Soon)) => {
            let wait = u32::try_from(SEND_AGAIN_SECONDS).unwrap_or(u32::MAX);
            Err(Problem::from(Refusal::Soon).retry_after(wait))
        }
        Err(error) => Err(error.into()),
    }
}

/// A mistyped address is corrected by the browser that bought: whoever was sent the mail by mistake cannot.
async fn readdress(site: &Site, call: &Call, opened: &Opened, fields: &Fields) -> Result<Response, Problem> {
    site.deps.pass(&site.deps.gates.recover, call)?;
    if opened.key != Key::Purchase {
        return Err(strange());
    }
    let typed = fields.taken_or_typed("email").unwrap_or_default();
    let email = Email::parse(typed).map_err(|_| {
        Problem::field(
            "email",
            "Cette adresse e-mail n’est pas valable.",
            "This e-mail address is not valid.",
        )
    })?;
    let kept = fields.get("checked") == Some(email.expose());
    if let Some(meant) = slips::suggestion(&email).filter(|_| !kept) {
        return Ok(page(&site.deps, call, opened, Some((&email, &meant))));
    }
    let order = opened.payment.id;
    site.deps.orders.submit(order, Input::Readdress(email)).await.map_err(Problem::from)?;
    Ok(answer::see_other(&format!("/commande/{order}/?fait=adresse")))
}
