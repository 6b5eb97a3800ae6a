//! What was measured, round by round, and what follows from it: medians, and ratios taken within each round.

use std::collections::BTreeMap;

use crate::machine::FOREIGN_SHARE_MAX;

/// Of all measurements at most this share may be disturbed, or there is no verdict.
const DISTURBED_SHARE_MAX: f64 = 0.2;
/// A verdict needs so many rounds.
pub(crate) const ROUNDS_MIN: usize = 5;

/// Values by name, such as `daemon/256/rate`, and by round.
#[derive(Default)]
pub(crate) struct Sheet {
    values: BTreeMap<String, BTreeMap<usize, f64>>,
    /// Share of the machine that went to others, by measurement.
    foreign: Vec<(String, f64)>,
    round: usize,
}

impl Sheet {
    pub(crate) fn begin(&mut self, round: usize) {
        self.round = round;
    }

    pub(crate) fn round(&self) -> usize {
        self.round
    }

    pub(crate) fn put(&mut self, name: impl Into<String>, value: f64) {
        self.values.entry(name.into()).or_default().insert(self.round, value);
    }

    /// This round's value.
    pub(crate) fn last(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.get(&self.round).copied()
    }

    /// Notes how much others disturbed the measurement `name`.
    pub(crate) fn disturbed(&mut self, name: &str, share: f64) {
        self.foreign.push((format!("{name}, round {}", self.round), share));
    }

    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        median(self.values.get(name)?.values().copied().collect())
    }

    /// How far the values of one name lie apart: smallest and largest.
    pub(crate) fn range(&self, name: &str) -> Option<(f64, f64)> {
        let values = self.values.get(name)?.values();
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (least.min(*value), most.max(*value))
        });
        (least <= most).then_some((least, most))
    }

    /// The median of the rounds' own ratios: what moves a whole round falls out.
    pub(crate) fn ratio(&self, of: &str, to: &str) -> Option<f64> {
        let (of, to) = (self.values.get(of)?, self.values.get(to)?);
        median(of.iter().filter_map(|(round, value)| Some(value / to.get(round)?)).collect())
    }

    /// Rounds in which this was measured.
    pub(crate) fn rounds(&self, name: &str) -> usize {
        self.values.get(name).map_or(0, BTreeMap::len)
    }

    /// Measurements, how many of them were disturbed, and the worst.
    pub(crate) fn disturbance(&self) -> (usize, usize, Option<&(String, f64)>) {
        let disturbed = self.foreign.iter().filter(|(_, share)| *share > FOREIGN_SHARE_MAX).count();
        let worst = self.foreign.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        (self.foreign.len(), disturbed, worst)
    }

    /// Whether the machine was left alone enough for a verdict.
    pub(crate) fn is_quiet(&self) -> bool {
        let (all, disturbed, _) = self.disturbance();
        all > 0 && disturbed as f64 <= all as f64 * DISTURBED_SHARE_MAX
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some((values[middle - 1] + upper) / 2.0) }
}
