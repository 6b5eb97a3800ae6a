//! Answers: the one table from refusal to status code and body, and the headers that every page carries.

use serde::Serialize;
use warp::http::StatusCode;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use warp::reply::Response;

use super::call::Call;
use super::pages::{Frame, Notice};
use crate::actors::AskError;
use crate::domain::decide::Refusal;
use crate::domain::payment::LinkState;
use crate::domain::values::Lang;

/// What a client is asked to wait when the daemon is short of something, in seconds.
const RETRY_SECONDS: u32 = 5;

/// What pages may do: our own style and script, forms to us. No inline anything.
const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                   form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// The same for pages from which one goes on to pay. Their form is answered with a redirect to CinetPay, which browsers hold against
/// `form-action` too; the host is CinetPay's to choose, and plain http is the simulator on this machine.
const CSP_PURCHASE: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                            connect-src 'self'; form-action 'self' https: http://127.0.0.1:* http://localhost:*; base-uri 'none'; \
                            frame-ancestors 'none'";

/// An error as the client sees it: problem details (RFC 9457) or a page, as it asked.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// The status code.
    pub(crate) status: StatusCode,
    /// The kind, for programs: the end of `type`.
    pub(crate) kind: &'static str,
    /// What is wrong and what to do, in French.
    pub(crate) fr: String,
    /// The same in English.
    pub(crate) en: String,
    /// The input field that is wrong.
    pub(crate) field: Option<&'static str>,
    /// Seconds until it is worth trying again.
    pub(crate) retry: Option<u32>,
    /// The methods of a 405.
    pub(crate) allow: Option<&'static str>,
}

#[derive(Serialize)]
struct Details<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

impl Problem {
    /// A problem whose texts are the status code's own.
    pub(crate) fn new(status: StatusCode, kind: &'static str) -> Self {
        let text = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { status, kind, fr: text.clone(), en: text, field: None, retry: None, allow: None }
    }
    /// With these texts.
    pub(crate) fn explained(self, fr: &str, en: &str) -> Self {
        Self { fr: fr.to_owned(), en: en.to_owned(), ..self }
    }
    /// Worth trying again after so many seconds.
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        Self { retry: Some(seconds), ..self }
    }
    /// 400.
    pub(crate) fn bad_request(fr: &str, en: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request").explained(fr, en)
    }
    /// 400 that names the field.
    pub(crate) fn field(field: &'static str, fr: &str, en: &str) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::BAD_REQUEST, "invalid-input").explained(fr, en) }
    }
    /// 404.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found")
            .explained("Cette adresse ne mène à rien.", "There is nothing at this address.")
    }
    /// 405 with the methods that would do.
    pub(crate) fn method(allow: &'static str) -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed")
            .explained("Cette adresse ne s’utilise pas ainsi.", "This address is not used that way.");
        Self { allow: Some(allow), ..problem }
    }
    /// 413.
    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large")
            .explained("La requête est trop volumineuse.", "The request is too large.")
    }
    /// 429.
    pub(crate) fn too_many(seconds: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests")
            .explained(
                "Trop de demandes à la fois. Patientez un instant, puis réessayez.",
                "Too many requests. Wait a moment, then try again.",
            )
            .retry_after(seconds.max(1))
    }
    /// 503.
    pub(crate) fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            .explained(
                "Le service est momentanément indisponible. Réessayez dans un instant : rien n’a été perdu.",
                "The service is unavailable for a moment. Try again shortly: nothing was lost.",
            )
            .retry_after(RETRY_SECONDS)
    }

    /// The problem in the client's language.
    pub(crate) fn text(&self, lang: Lang) -> &str {
        match lang {
            Lang::Fr => &self.fr,
            Lang::En => &self.en,
        }
    }

    /// Problem details.
    pub(crate) fn json(&self, lang: Lang) -> Response {
        let details = Details {
            r#type: format!("urn:auditshield:problem:{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.text(lang),
            field: self.field,
        };
        let mut answer = json(self.status, &details);
        set(&mut answer, CONTENT_TYPE, "application/problem+json");
        self.finish(answer)
    }

    /// A page, for browsers and for who named nothing.
    pub(crate) fn page(&self, call: &Call) -> Response {
        let frame = Frame::of(call);
        let (fr, en) = self.heading();
        let action = match self.kind {
            "unknown-product" | "not-found" => Some(("/", "Voir la boutique", "See the shop")),
            "link-expired" | "link-revoked" | "link-forged" | "order-closed" => {
                Some(("/achats/", "Retrouver mes achats", "Find my purchases"))
            }
            _ => None,
        };
        let action = action.map(|(to, fr, en)| (to.to_owned(), frame.say(fr, en)));
        let notice = Notice {
            heading: frame.say(fr, en),
            text: self.text(frame.lang()),
            action,
            frame: frame.clone(),
        };
        self.finish(page(self.status, &notice))
    }

    /// What a page says in large letters.
    pub(crate) fn heading(&self) -> (&'static str, &'static str) {
        match (self.kind, self.status.as_u16()) {
            ("unknown-product", _) => ("Produit introuvable", "Product not found"),
            ("link-expired", _) => ("Ce lien a expiré", "This link has expired"),
            ("link-used-up", _) => {
                ("Tous les téléchargements ont été utilisés", "Every download has been used")
            }
            ("link-revoked", _) => ("Ce lien n’est plus actif", "This link is no longer active"),
            ("link-forged", _) => ("Ce lien n’est pas valable", "This link is not valid"),
            ("order-closed", _) => ("Commande protégée", "Protected order"),
            ("sent-already", _) => ("E-mail déjà envoyé", "E-mail sent already"),
            ("payment-page-unavailable", _) => {
                ("La page de paiement ne répond pas", "The payment page does not answer")
            }
            (_, 404) => ("Page introuvable", "Page not found"),
            (_, 410) => ("Ce lien n’est plus actif", "This link is no longer active"),
            (_, 429) => ("Trop de demandes à la fois", "Too many requests"),
            (_, 502 | 503) => ("Momentanément indisponible", "Unavailable for a moment"),
            _ => ("La demande n’a pas abouti", "The request did not succeed"),
        }
    }

    /// As asked; JSON when nothing was asked for.
    pub(crate) fn answer(&self, call: &Call) -> Response {
        if call.accepts_html() { self.page(call) } else { self.json(call.lang()) }
    }

    /// As asked; a page when nothing was asked for.
    pub(crate) fn answer_page(&self, call: &Call) -> Response {
        if call.accepts_json() { self.json(call.lang()) } else { self.page(call) }
    }

    /// The headers that this problem brings, on any body.
    pub(crate) fn finish(&self, mut answer: Response) -> Response {
        *answer.status_mut() = self.status;
        if let Some(seconds) = self.retry {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            set(&mut answer, warp::http::header::ALLOW, allow);
        }
        answer
    }
}

/// The one table from a refusal to a status code and a text.
impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Busy | AskError::Gone | AskError::Late | AskError::NoRoom => Self::unavailable(),
            AskError::NotOpened(_) => Self::new(StatusCode::BAD_GATEWAY, "payment-page-unavailable")
                .explained(
                    "La page de paiement ne répond pas. Rien n’a été débité : réessayez dans un instant.",
                    "The payment page does not answer. Nothing was charged: try again shortly.",
                )
                .retry_after(RETRY_SECONDS),
            AskError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownOrder => Self::new(StatusCode::NOT_FOUND, "unknown-order")
                .explained("Cette commande n’existe pas.", "There is no such order."),
            Refusal::Exists => Self::new(StatusCode::CONFLICT, "order-exists")
                .explained("Cette commande existe déjà.", "The order exists already."),
            // Where there is a key, another order has taken its place by now.
            Refusal::Spent => AskError::NotOpened(String::new()).into(),
            Refusal::Status(status) => Self::new(StatusCode::CONFLICT, "wrong-status").explained(
                &format!("Impossible tant que la commande est au statut {status}."),
                &format!("Not possible while the order's status is {status}."),
            ),
            Refusal::Link(state) => link(state),
            Refusal::Soon => Self::new(StatusCode::TOO_MANY_REQUESTS, "sent-already").explained(
                "Un e-mail vient de partir à votre adresse. Regardez aussi dans les indésirables, et patientez dix \
                 minutes avant d’en demander un autre.",
                "An e-mail has just been sent to your address. Do look into the spam folder, and wait ten minutes \
                 before asking for another one.",
            ),
            Refusal::Settled => Self::new(StatusCode::CONFLICT, "address-settled").explained(
                "Le fichier a déjà été téléchargé, ou l’adresse a déjà été corrigée plusieurs fois : elle ne peut plus \
                 changer. Écrivez au vendeur.",
                "The file was downloaded already, or the address was corrected several times: it can no longer change. \
                 Write to the seller.",
            ),
            Refusal::Owed => Self::new(StatusCode::CONFLICT, "delivery-owed").explained(
                "Une livraison est due à cet acheteur, ou son paiement peut encore arriver. Attendez, ou forcez \
                 l’effacement : le fichier ne lui sera pas envoyé.",
                "A delivery is owed to this buyer, or the payment may still come. Wait, or force the erasure: the file \
                 will not be sent.",
            ),
            Refusal::Erased => Self::new(StatusCode::CONFLICT, "erased").explained(
                "Les données de l’acheteur ont été effacées : il n’y a plus personne à qui écrire.",
                "The buyer's data were erased: there is nobody to write to any more.",
            ),
            Refusal::Unsealed => Self::new(StatusCode::CONFLICT, "unsealed").explained(
                "Cette commande date d’avant le chiffrement : ses données sont en clair dans des lignes du journal qui ne \
                 changent jamais. Elle ne peut pas être effacée.",
                "This order was taken before personal data were sealed: they stand in plain text in journal lines that \
                 never change. It cannot be erased.",
            ),
        }
    }
}

/// 410, with what to do about it.
fn link(state: LinkState) -> Problem {
    let (kind, fr, en) = match state {
        LinkState::Expired => (
            "link-expired",
            "Ce lien a expiré. Indiquez votre adresse e-mail : un lien valable vous est renvoyé aussitôt.",
            "This link has expired. Give your e-mail address and you are sent a working link at once.",
        ),
        LinkState::UsedUp => (
            "link-used-up",
            "Tous les téléchargements de ce lien ont été utilisés. Écrivez au vendeur en indiquant votre numéro de commande.",
            "Every download of this link has been used. Write to the seller with your order number.",
        ),
        LinkState::Revoked | LinkState::Live => (
            "link-revoked",
            "Ce lien a été désactivé ou remplacé. Cherchez un e-mail plus récent, ou écrivez au vendeur avec votre numéro de commande.",
            "This link was replaced or withdrawn. Look for a newer e-mail, or write to the seller with your order number.",
        ),
    };
    Problem::new(StatusCode::GONE, kind).explained(fr, en)
}

/// Sets a header to a text that we wrote ourselves.
pub(crate) fn set(answer: &mut Response, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// A JSON answer, never cached.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let text = serde_json::to_vec(body).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        b"null".to_vec()
    });
    let mut answer = Response::new(text.into());
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, "application/json");
    set(&mut answer, CACHE_CONTROL, "no-store");
    set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}

/// A short text.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    let mut answer = Response::new(body.into().into());
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, "text/plain; charset=utf-8");
    set(&mut answer, CACHE_CONTROL, "no-store");
    set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}

/// A PDF, for one reader.
pub(crate) fn pdf(bytes: Vec<u8>) -> Response {
    let mut answer = Response::new(bytes.into());
    set(&mut answer, CONTENT_TYPE, "application/pdf");
    set(&mut answer, CACHE_CONTROL, "no-store");
    set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    // No more than this: a browser's own viewer would not show it.
    set(&mut answer, CONTENT_SECURITY_POLICY, "frame-ancestors 'none'");
    answer
}

/// A page with its security headers.
pub(crate) fn page<T: askama::Template>(status: StatusCode, template: &T) -> Response {
    let body = template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a page could not be rendered");
        String::new()
    });
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, "text/html; charset=utf-8");
    set(&mut answer, CACHE_CONTROL, "no-store");
    set(&mut answer, VARY, "Accept, Accept-Language, Cookie");
    set(&mut answer, CONTENT_SECURITY_POLICY, CSP);
    set(&mut answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut answer, X_FRAME_OPTIONS, "DENY");
    set(&mut answer, REFERRER_POLICY, "no-referrer");
    answer
}

/// The purchase page: its form ends at CinetPay.
pub(crate) fn purchase_page<T: askama::Template>(status: StatusCode, template: &T) -> Response {
    let mut answer = page(status, template);
    set(&mut answer, CONTENT_SECURITY_POLICY, CSP_PURCHASE);
    answer
}

/// 303, so that a form's POST becomes a GET.
pub(crate) fn see_other(to: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(to) else { return Problem::unavailable().json(Lang::En) };
    let mut answer = text(StatusCode::SEE_OTHER, "");
    answer.headers_mut().insert(LOCATION, location);
    set(&mut answer, REFERRER_POLICY, "no-referrer");
    answer
}
