//! CinetPay's codes in words: why a payment was refused, and what to do about it.

/// Codes that share words, French, English. The last line stands for every other code.
pub(crate) const REASONS: [(&str, &str, &str); 9] = [
    (
        "602",
        "Le solde de votre compte est insuffisant. Rechargez-le, puis réessayez.",
        "The balance of your account is too low. Top it up, then try again.",
    ),
    (
        "603 804",
        "L’opérateur est momentanément indisponible. Réessayez dans quelques minutes, ou choisissez un autre moyen de paiement.",
        "The operator is unavailable for a moment. Try again in a few minutes, or choose another means of payment.",
    ),
    (
        "604",
        "Le code saisi n’est pas le bon, ou il a expiré. Demandez-en un nouveau à votre opérateur, puis réessayez.",
        "The code was wrong or too old. Ask your operator for a new one, then try again.",
    ),
    (
        "606",
        "Orange Money a refusé : code erroné, solde insuffisant, ou même paiement demandé deux fois de suite. Patientez quelques minutes, puis réessayez.",
        "Orange Money refused: wrong code, low balance, or the same payment asked twice in a row. Wait a few minutes, then try again.",
    ),
    ("627", "Le paiement a été annulé.", "The payment was cancelled."),
    (
        "635 636",
        "L’opérateur ne reconnaît pas ce numéro. Vérifiez-le, puis réessayez.",
        "The operator does not know this number. Check it, then try again.",
    ),
    (
        "807 808 809 810 811 812",
        "Votre compte a atteint un plafond (par jour, semaine ou mois, en nombre ou en montant). Utilisez un autre compte ou un autre moyen de paiement.",
        "Your account has reached a ceiling (by day, week or month, in number or amount). Use another account or another means of payment.",
    ),
    (
        "REJECTED",
        "Le vendeur n’a pas pu rattacher ce paiement à votre commande. Écrivez-lui avec votre numéro de commande.",
        "The seller could not match this payment with your order. Write to them with your order number.",
    ),
    (OTHER, "L’opérateur n’a pas accepté le paiement.", "The operator did not accept the payment."),
];

/// The line of every code without words of its own.
pub(crate) const OTHER: &str = "*";

/// The codes of the line that explains `code`.
pub(crate) fn line_of(code: &str) -> &'static str {
    let named = REASONS.iter().find(|(codes, ..)| codes.split(' ').any(|one| one == code));
    named.map_or(OTHER, |(codes, ..)| codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_refusal_has_words_of_its_own() {
        let check = |code: &str, french: &str| {
            let (_, fr, en) = REASONS.iter().find(|(codes, ..)| *codes == line_of(code)).unwrap();
            assert!(fr.contains(french) && !en.is_empty(), "{code}: {fr}");
        };
        check("602", "solde");
        check("604", "code saisi");
        check("606", "Orange Money");
        check("627", "annulé");
        check("804", "indisponible");
        for ceiling in ["807", "808", "809", "810", "811", "812"] {
            check(ceiling, "plafond");
        }
        check("600", "n’a pas accepté");
        check("81", "n’a pas accepté");
        check("", "n’a pas accepté");
    }
}
