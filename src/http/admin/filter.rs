//! Which orders a list shows, as its address says it: for the dashboard and for the API.

use crate::domain::calendar::{Day, Period, Zone};
use crate::domain::payment::Status;
use crate::domain::values::OrderId;
use crate::http::answer::Problem;
use crate::http::call::Fields;
use crate::ledger::Query;

/// A list's filters, each as it was typed.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// A status name, or nothing.
    pub(super) status: String,
    /// The first day, or nothing.
    pub(super) since: String,
    /// The last day, or nothing.
    pub(super) until: String,
    /// Only orders whose mail was refused for good.
    pub(super) stalled: bool,
}

impl Filter {
    /// Reads the filters.
    pub(super) fn of(fields: &Fields) -> Result<Self, Problem> {
        let text = |name| fields.get(name).unwrap_or_default().trim().to_owned();
        let filter = Self {
            status: text("status").to_ascii_uppercase(),
            since: text("since"),
            until: text("until"),
            stalled: match fields.get("mail") {
                None => false,
                Some("stalled") => true,
                Some(_) => {
                    return Err(Problem::field(
                        "mail",
                        "Le seul choix est « stalled ».",
                        "The only choice is `stalled`.",
                    ));
                }
            },
        };
        if !filter.status.is_empty() && !Status::NAMES.contains(&filter.status.as_str()) {
            return Err(Problem::field("status", "Ce statut n’existe pas.", "There is no such status."));
        }
        date("since", &filter.since)?;
        date("until", &filter.until)?;
        Ok(filter)
    }

    /// The ledger's query for these filters, what is looked for, and where the page before ended. Days are this clock's.
    pub(super) fn query(
        &self,
        q: Option<String>,
        cursor: Option<OrderId>,
        limit: usize,
        zone: Zone,
    ) -> Result<Query, Problem> {
        let status = (!self.status.is_empty()).then(|| self.status.clone());
        let whole = |day: Day| Period { first: day, last: day, zone };
        let since = date("since", &self.since)?.map(|day| whole(day).start());
        let until = date("until", &self.until)?.map(|day| whole(day).end());
        Ok(Query { status, q, since, until, stalled: self.stalled, cursor, limit })
    }

    /// The filters as an address has them.
    pub(super) fn pairs(&self) -> Vec<(&'static str, &str)> {
        let mail = if self.stalled { "stalled" } else { "" };
        let all = [("status", &*self.status), ("since", &self.since), ("until", &self.until), ("mail", mail)];
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// Where the page before ended.
pub(super) fn cursor(fields: &Fields) -> Result<Option<OrderId>, Problem> {
    let cursor = fields.get("cursor").map(OrderId::parse).transpose();
    cursor.map_err(|_| Problem::field("cursor", "Ce curseur est illisible.", "This cursor is unreadable."))
}

/// A day; none for no text.
fn date(field: &'static str, text: &str) -> Result<Option<Day>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Problem::field(
            field,
            "Une date s’écrit 2026-11-25 (année, mois, jour).",
            "A date is written 2026-11-25 (year, month, day).",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_written() {
        let read = |text: &str| Filter::of(&Fields::parse(text.as_bytes()).unwrap());
        let check = |text: &str, want: &str| {
            let pairs = read(text).map(|filter| {
                form_urlencoded::Serializer::new(String::new()).extend_pairs(filter.pairs()).finish()
            });
            assert_eq!(
                pairs.unwrap_or_else(|problem| format!("no: {}", problem.field.unwrap())),
                want,
                "{text}"
            );
        };
        check("", "");
        check(
            "status=paid&since=2026-11-01&until=2026-11-25",
            "status=PAID&since=2026-11-01&until=2026-11-25",
        );
        check("mail=stalled&status=", "mail=stalled");
        check("status=NONE", "no: status");
        check("mail=lost", "no: mail");
        for bad in
            ["2026-11-31", "25/11/2026", "2026-11-25T10:00:00Z", "2026-11", "0000-00-00", "2026-1-1234"]
        {
            check(&format!("since={bad}"), "no: since");
            check(&format!("until={bad}"), "no: until");
        }
        let filter = read("since=2026-11-25&until=2026-11-25").unwrap();
        let check = |zone: &str, since: &str, until: &str| {
            let query = filter.query(None, None, 5, zone.parse().unwrap()).unwrap();
            let ends = [query.since, query.until].map(|at| at.unwrap().to_string());
            assert_eq!(ends, [since, until], "{zone}: the last day counts in full");
        };
        check("+00:00", "2026-11-25T00:00:00.000Z", "2026-11-26T00:00:00.000Z");
        check("+01:00", "2026-11-24T23:00:00.000Z", "2026-11-25T23:00:00.000Z");
    }
}
