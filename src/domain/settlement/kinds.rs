//! What can differ, and what it means in words.

use serde::{Deserialize, Serialize};

use crate::domain::values::Lang;

/// Which of the four lists a finding belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// We sold, they do not name it.
    OursNotTheirs,
    /// They were paid, we did not sell.
    TheirsNotOurs,
    /// Both, with other amounts or currencies.
    Amounts,
    /// We sold, and they say something else became of it.
    Statuses,
}

impl Kind {
    /// Every kind, in the order of a report.
    pub const ALL: [Self; 4] = [Self::OursNotTheirs, Self::TheirsNotOurs, Self::Amounts, Self::Statuses];

    /// Its heading.
    pub const fn heading(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::OursNotTheirs, Lang::Fr) => "Chez nous, pas chez CinetPay",
            (Self::OursNotTheirs, Lang::En) => "Ours, not CinetPay’s",
            (Self::TheirsNotOurs, Lang::Fr) => "Chez CinetPay, pas chez nous",
            (Self::TheirsNotOurs, Lang::En) => "CinetPay’s, not ours",
            (Self::Amounts, Lang::Fr) => "Montants différents",
            (Self::Amounts, Lang::En) => "Amounts that differ",
            (Self::Statuses, Lang::Fr) => "Statuts différents",
            (Self::Statuses, Lang::En) => "Statuses that differ",
        }
    }
}

/// Why it is a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The export does not name it.
    Missing,
    /// The same, close to an end of the period.
    MissingAtTheEdge,
    /// A number that this shop never gave.
    NotOurNumber,
    /// A number of ours without an order.
    UnknownOrder,
    /// The order is not paid here.
    NotPaidHere,
    /// The order was paid by another attempt too.
    PaidTwice,
    /// The export names it as paid more than once.
    NamedTwice,
    /// Another amount.
    Amount,
    /// Another currency.
    Currency,
    /// Refused or cancelled there.
    RefusedThere,
    /// Undecided there.
    PendingThere,
    /// A word of theirs that we do not know.
    UnknownStatus,
}

impl Reason {
    /// What it means, and where to look.
    pub const fn words(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::Missing, Lang::Fr) => "payée ici, absente du relevé",
            (Self::Missing, Lang::En) => "paid here, not in the export",
            (Self::MissingAtTheEdge, Lang::Fr) => {
                "absente, mais au bord de la période : voir le relevé voisin"
            }
            (Self::MissingAtTheEdge, Lang::En) => {
                "not there, but at the period’s edge: see the neighbouring export"
            }
            (Self::NotOurNumber, Lang::Fr) => "numéro qui n’est pas de cette boutique",
            (Self::NotOurNumber, Lang::En) => "not a number of this shop",
            (Self::UnknownOrder, Lang::Fr) => "numéro de cette forme, mais commande inconnue",
            (Self::UnknownOrder, Lang::En) => "our kind of number, but no such order",
            (Self::NotPaidHere, Lang::Fr) => {
                "payée là-bas, pas ici : vérifier la commande auprès de CinetPay"
            }
            (Self::NotPaidHere, Lang::En) => "paid there, not here: ask CinetPay about the order",
            (Self::PaidTwice, Lang::Fr) => {
                "commande payée aussi par une autre tentative : rembourser l’une des deux"
            }
            (Self::PaidTwice, Lang::En) => "the order was paid by another attempt too: refund one of them",
            (Self::NamedTwice, Lang::Fr) => "figure plusieurs fois comme payée dans le relevé",
            (Self::NamedTwice, Lang::En) => "named as paid more than once in the export",
            (Self::Amount, Lang::Fr) => "montant différent",
            (Self::Amount, Lang::En) => "another amount",
            (Self::Currency, Lang::Fr) => "devise différente",
            (Self::Currency, Lang::En) => "another currency",
            (Self::RefusedThere, Lang::Fr) => "refusée là-bas, payée ici : écrire à CinetPay",
            (Self::RefusedThere, Lang::En) => "refused there, paid here: write to CinetPay",
            (Self::PendingThere, Lang::Fr) => "encore en attente là-bas, payée ici",
            (Self::PendingThere, Lang::En) => "still pending there, paid here",
            (Self::UnknownStatus, Lang::Fr) => "statut du relevé inconnu",
            (Self::UnknownStatus, Lang::En) => "a status that we do not know",
        }
    }
}
