//! Days as the merchant's clock shows them. A period is whole days, the first and the last included.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

use super::values::{Invalid, Timestamp};

/// Furthest from UTC that any clock on earth is, in minutes.
const OFFSET_MINUTES_MAX: i32 = 14 * 60;
/// Longest period, in days: ten years of accounts.
pub const PERIOD_DAYS_MAX: i32 = 3_660;
/// `2026-11-25`.
const DAY_CHARS: usize = 10;

/// How far the merchant's clock is from UTC, in minutes. Why a number and no name of a zone: no country that CinetPay
/// serves changes its clocks in summer, and a list of names would have to be kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zone(i32);

impl Zone {
    /// Abidjan, Dakar, Lomé, Bamako, Ouagadougou.
    pub const UTC: Self = Self(0);

    fn offset(self) -> Offset {
        Offset::from_seconds(self.0 * 60).unwrap_or(Offset::UTC)
    }
    /// What this clock shows at that moment; at one that no calendar has, the epoch's.
    pub(super) fn shows(self, at: Timestamp) -> DateTime {
        let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.offset().to_datetime(at)
    }
    /// `2026-11-25 14:03:22` on this clock: what a spreadsheet takes for a date.
    pub fn clock(self, at: Timestamp) -> String {
        self.shows(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
    /// The day that it is at this moment.
    pub fn day(self, at: Timestamp) -> Day {
        Day(self.shows(at).date())
    }
    /// The moment at which this clock shows that date and time; none outside of any calendar.
    pub(crate) fn moment(self, clock: DateTime) -> Option<Timestamp> {
        let at = self.offset().to_timestamp(clock).ok()?;
        Some(Timestamp::from_millis(at.as_millisecond()))
    }
}

/// `UTC+01:00`; `UTC` without a difference.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, minutes) = (if self.0 < 0 { '-' } else { '+' }, self.0.abs());
        match minutes {
            0 => f.write_str("UTC"),
            _ => write!(f, "UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60),
        }
    }
}

/// `+01:00`, `-03:30`, `+00:00`.
impl FromStr for Zone {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (sign, rest) = match text.as_bytes() {
            [b'+', ..] => (1, &text[1..]),
            [b'-', ..] => (-1, &text[1..]),
            _ => return Err(Invalid::Time),
        };
        let (hours, minutes) = rest.split_once(':').ok_or(Invalid::Time)?;
        let two = |part: &str, below: i32| {
            let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<i32>().ok().filter(|number| digits && *number < below).ok_or(Invalid::Time)
        };
        let minutes = two(hours, 24)? * 60 + two(minutes, 60)?;
        if minutes > OFFSET_MINUTES_MAX { Err(Invalid::Time) } else { Ok(Self(sign * minutes)) }
    }
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(Date);

impl Day {
    /// The day before or after by so many days; the end of the calendar stops it.
    pub fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(jiff::Span::new().days(days)))
    }
    /// Its year, month and day.
    pub(super) fn date(self) -> Date {
        self.0
    }
    /// The first day of its month.
    pub fn month_start(self) -> Self {
        Self(self.0.first_of_month())
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `2026-11-25`, as a browser's date field sends it; nothing else.
impl FromStr for Day {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let plain = text.len() == DAY_CHARS && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let day: Date = text.parse().map_err(|_| Invalid::Time)?;
        if plain { Ok(Self(day)) } else { Err(Invalid::Time) }
    }
}

/// Whole days of one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub first: Day,
    /// The last day, which belongs to it.
    pub last: Day,
    /// Whose days.
    pub zone: Zone,
}

impl Period {
    /// None when it would end before it begins, or be longer than [`PERIOD_DAYS_MAX`].
    pub fn new(first: Day, last: Day, zone: Zone) -> Option<Self> {
        let fits = first <= last && last < first.plus(PERIOD_DAYS_MAX);
        fits.then_some(Self { first, last, zone })
    }
    /// Its first moment.
    pub fn start(&self) -> Timestamp {
        self.midnight(self.first).unwrap_or(Timestamp::from_millis(i64::MIN))
    }
    /// The first moment after it.
    pub fn end(&self) -> Timestamp {
        self.midnight(self.last.plus(1)).unwrap_or(Timestamp::from_millis(i64::MAX))
    }
    /// Whether this moment belongs to it.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.start() <= at && at < self.end()
    }
    fn midnight(&self, day: Day) -> Option<Timestamp> {
        self.zone.moment(day.0.at(0, 0, 0, 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn offsets_are_read_strictly_and_written_back() {
        let check = |text: &str, shown: Option<&str>| {
            assert_eq!(text.parse::<Zone>().ok().map(|zone| zone.to_string()).as_deref(), shown, "{text}");
        };
        check("+00:00", Some("UTC"));
        check("-00:00", Some("UTC"));
        check("+01:00", Some("UTC+01:00"));
        check("-03:30", Some("UTC-03:30"));
        check("+14:00", Some("UTC+14:00"));
        for bad in
            ["", "1", "+1:00", "+14:01", "+01:60", "+24:00", "01:00", "+01:0 ", "UTC", "+-1:00", "é0:00"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn days_are_read_strictly() {
        for good in ["2026-11-25", "2024-02-29"] {
            assert_eq!(good.parse::<Day>().unwrap().to_string(), good);
        }
        for bad in ["", "2026-02-29", "20261125", "2026-11-25T00", "25/11/2026", " 2026-11-25", "2026-W01-1"]
        {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
        let day: Day = "2026-03-01".parse().unwrap();
        assert_eq!(
            (day.plus(-1).to_string(), day.plus(-1).month_start().to_string()),
            ("2026-02-28".into(), "2026-02-01".into())
        );
    }

    /// Both ends belong to a period, by the merchant's clock and not by UTC.
    #[test]
    fn a_period_is_whole_days_of_its_clock() {
        let check = |zone: &str, at_text: &str, inside: bool| {
            let (first, last) = ("2026-11-01".parse().unwrap(), "2026-11-30".parse().unwrap());
            let period = Period::new(first, last, zone.parse().unwrap()).unwrap();
            assert_eq!(period.holds(at(at_text)), inside, "{zone} {at_text}");
        };
        check("+00:00", "2026-11-01T00:00:00Z", true);
        check("+00:00", "2026-10-31T23:59:59.999Z", false);
        check("+00:00", "2026-11-30T23:59:59.999Z", true);
        check("+00:00", "2026-12-01T00:00:00Z", false);
        check("+01:00", "2026-10-31T23:00:00Z", true);
        check("+01:00", "2026-10-31T22:59:59.999Z", false);
        check("+01:00", "2026-11-30T22:59:59.999Z", true);
        check("+01:00", "2026-11-30T23:00:00Z", false);
        let day = |text: &str| text.parse::<Day>().unwrap();
        assert_eq!(Period::new(day("2026-11-02"), day("2026-11-01"), Zone::UTC), None);
        assert_eq!(Period::new(day("2000-11-02"), day("2026-11-01"), Zone::UTC), None);
        assert!(Period::new(day("2026-11-02"), day("2026-11-02"), Zone::UTC).is_some());
    }

    #[test]
    fn clocks_show_local_time() {
        let check = |zone: &str, shown: &str, day: &str| {
            let (zone, at) = (zone.parse::<Zone>().unwrap(), at("2026-11-25T23:30:01.999Z"));
            assert_eq!((zone.clock(at).as_str(), zone.day(at).to_string().as_str()), (shown, day));
        };
        check("+00:00", "2026-11-25 23:30:01", "2026-11-25");
        check("+01:00", "2026-11-26 00:30:01", "2026-11-26");
        check("-02:30", "2026-11-25 21:00:01", "2026-11-25");
    }

    proptest! {
        /// Every moment belongs to the period of its own day, and to no other day's.
        #[test]
        fn each_moment_has_one_day(millis in 0_i64..4_000_000_000_000, minutes in -840_i32..=840) {
            let (zone, at) = (Zone(minutes), Timestamp::from_millis(millis));
            let day = zone.day(at);
            let of = |day| Period::new(day, day, zone).unwrap();
            prop_assert!(of(day).holds(at));
            prop_assert!(!of(day.plus(1)).holds(at) && !of(day.plus(-1)).holds(at));
        }
    }
}
