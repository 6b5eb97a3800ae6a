//! /admin/: what needs somebody, what was sold, and the newest orders.

use askama::Template;
use warp::http::StatusCode;
use warp::reply::Response;

use super::attention::{self, Task};
use super::desk::Desk;
use super::list::Row;
use super::{Office, api};
use crate::domain::calendar::{Day, Period as Days};
use crate::domain::values::Currency;
use crate::domain::words;
use crate::http::answer::{self, Problem};
use crate::ledger::{Query, Sales};

/// Days of the chart and of the longest sum.
const DAYS: u8 = 30;
/// Orders shown.
const NEWEST_ORDERS: usize = 10;
/// The chart's height, and the width of a day with its gap, in units of its own.
const CHART_HEIGHT: u64 = 120;
const DAY_WIDTH: u64 = 20;
/// The least height of a day on which something was sold, so that it is seen.
const BAR_MIN: u64 = 3;

#[derive(Template)]
#[template(path = "admin_home.html")]
struct Home {
    desk: Desk,
    tasks: Vec<Task>,
    periods: Vec<Period>,
    chart: Chart,
    rows: Vec<Row>,
}

/// The sum of some days.
struct Period {
    name: &'static str,
    orders: u64,
    /// One amount for each currency.
    amounts: Vec<String>,
}

/// Sales by day, as a picture and as the table that says the same.
struct Chart {
    width: u64,
    height: u64,
    bars: Vec<Bar>,
    /// The currency of the picture, where there are several.
    currency: &'static str,
    /// The picture in a sentence.
    summary: String,
    first: String,
    last: String,
    days: Vec<(String, u64, String)>,
}

struct Bar {
    x: u64,
    y: u64,
    height: u64,
}

/// GET /admin/.
pub(super) async fn show(office: &Office, desk: &Desk) -> Result<Response, Problem> {
    let (ledger, desk) = (office.deps.ledger.clone(), desk.at("home"));
    let zone = office.deps.settings.zone;
    let today = zone.day(office.deps.now());
    let newest = Query { limit: NEWEST_ORDERS, ..Query::default() };
    let newest = api::read(move || ledger.list(&newest)).await?;
    let sales = office.deps.ledger.sales(Days { first: before(today, DAYS - 1), last: today, zone });
    let page = Home {
        tasks: attention::tasks(office, &desk).await?,
        periods: periods(&desk, &sales, today),
        chart: chart(&desk, &sales, today),
        rows: newest.orders.iter().map(|payment| Row::of(&desk, payment)).collect(),
        desk,
    };
    Ok(answer::page(StatusCode::OK, &page))
}

/// So many days earlier.
fn before(day: Day, days: u8) -> Day {
    day.plus(-i32::from(days))
}

fn periods(desk: &Desk, sales: &[Sales], today: Day) -> Vec<Period> {
    let period = |name, days: u8| {
        let within: Vec<&Sales> = sales.iter().filter(|one| one.day > before(today, days)).collect();
        let amounts = currencies(within.iter().copied())
            .into_iter()
            .map(|(currency, _, amount)| words::sum(amount, currency, desk.lang()));
        Period { name, orders: within.iter().map(|one| one.orders).sum(), amounts: amounts.collect() }
    };
    vec![
        period(desk.say("Aujourd’hui", "Today"), 1),
        period(desk.say("7 jours", "7 days"), 7),
        period(desk.say("30 jours", "30 days"), DAYS),
    ]
}

/// Orders and sum of each currency, the one with the most orders first.
fn currencies<'a>(sales: impl Iterator<Item = &'a Sales>) -> Vec<(Currency, u64, u64)> {
    let mut sums: Vec<(Currency, u64, u64)> = Vec::new();
    for one in sales {
        match sums.iter_mut().find(|(currency, ..)| *currency == one.currency) {
            Some((_, orders, amount)) => {
                (*orders, *amount) = (*orders + one.orders, amount.saturating_add(one.amount))
            }
            None => sums.push((one.currency, one.orders, one.amount)),
        }
    }
    sums.sort_by_key(|(currency, orders, _)| (std::cmp::Reverse(*orders), *currency));
    sums
}

/// The chart of the currency that most orders were paid in: amounts of two currencies have no common height.
fn chart(desk: &Desk, sales: &[Sales], today: Day) -> Chart {
    let currency = currencies(sales.iter()).first().map_or(Currency::Xof, |(currency, ..)| *currency);
    let of_day = |day: Day| sales.iter().find(|one| one.day == day && one.currency == currency);
    let most = sales.iter().filter(|one| one.currency == currency).map(|one| one.amount).max().unwrap_or(0);
    let days = (0..DAYS).rev().map(|days| before(today, days));
    let bars = days.zip(0_u64..).filter_map(|(day, place)| {
        let amount = of_day(day)?.amount;
        let height = scaled(amount, most);
        Some(Bar { x: place * DAY_WIDTH, y: CHART_HEIGHT - height, height })
    });
    let sum = |amount| words::sum(amount, currency, desk.lang());
    let best = sales.iter().filter(|one| one.currency == currency).max_by_key(|one| (one.amount, one.day));
    let total = sales.iter().filter(|one| one.currency == currency).map(|one| one.amount).sum();
    let summary = match best {
        None => desk.say("Aucune vente en 30 jours.", "No sales in 30 days.").to_owned(),
        Some(best) => {
            let (total, day, amount) = (sum(total), words::day(best.day, desk.lang()), sum(best.amount));
            let fr = format!("{total} en 30 jours ; meilleur jour : {day}, {amount}.");
            let en = format!("{total} in 30 days; best day: {day}, {amount}.");
            desk.say(&fr, &en).to_owned()
        }
    };
    let mut rows: Vec<_> = sales
        .iter()
        .map(|one| {
            (words::day(one.day, desk.lang()), one.orders, words::sum(one.amount, one.currency, desk.lang()))
        })
        .collect();
    rows.reverse();
    Chart {
        width: u64::from(DAYS) * DAY_WIDTH,
        height: CHART_HEIGHT,
        bars: bars.collect(),
        currency: if currencies(sales.iter()).len() > 1 { currency.code() } else { "" },
        summary,
        first: words::day(before(today, DAYS - 1), desk.lang()),
        last: words::day(today, desk.lang()),
        days: rows,
    }
}

fn scaled(amount: u64, most: u64) -> u64 {
    let height = u128::from(amount) * u128::from(CHART_HEIGHT) / u128::from(most.max(1));
    u64::try_from(height).unwrap_or(CHART_HEIGHT).clamp(BAR_MIN, CHART_HEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::call::Call;
    use warp::http::{HeaderMap, Method};

    fn sale(day: Day, currency: Currency, orders: u64, amount: u64) -> Sales {
        Sales { day, currency, orders, amount }
    }

    #[test]
    fn sums_and_bars_are_of_the_right_days_and_currencies() {
        let desk = Desk::outside(&Call::of(Method::GET, HeaderMap::new()));
        let today = "2024-10-04".parse().unwrap();
        let sales = [
            sale(before(today, 29), Currency::Xof, 1, 5_000),
            sale(before(today, 7), Currency::Xof, 2, 30_000),
            sale(before(today, 6), Currency::Xof, 1, 15_000),
            sale(today, Currency::Xof, 1, 15_000),
            sale(today, Currency::Usd, 3, 1_250),
        ];
        let sums: Vec<_> = periods(&desk, &sales, today)
            .into_iter()
            .map(|period| (period.orders, period.amounts.join(" + ").replace('\u{202f}', " ")))
            .collect();
        let want = [(4, "12,50 $ + 15 000 FCFA"), (5, "12,50 $ + 30 000 FCFA"), (8, "65 000 FCFA + 12,50 $")];
        assert_eq!(sums, want.map(|(orders, text)| (orders, text.to_owned())));
        let chart = chart(&desk, &sales, today);
        let bars: Vec<_> = chart.bars.iter().map(|bar| (bar.x, bar.y, bar.height)).collect();
        assert_eq!(
            bars,
            [(0, 100, 20), (22 * DAY_WIDTH, 0, 120), (23 * DAY_WIDTH, 60, 60), (29 * DAY_WIDTH, 60, 60)]
        );
        assert_eq!(
            (chart.currency, chart.days.len(), chart.first.as_str()),
            ("XOF", 5, "5\u{a0}septembre 2024")
        );
        assert!(chart.summary.contains("27\u{a0}septembre 2024"), "{}", chart.summary);
        assert_eq!(scaled(1, u64::MAX), BAR_MIN);
        assert_eq!(scaled(u64::MAX, u64::MAX), CHART_HEIGHT);
    }
}
