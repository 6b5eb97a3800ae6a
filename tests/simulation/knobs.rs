//! What differs from seed to seed: limits, times, and which kinds of trouble there are.

use std::time::Duration;

use auditshield::actors::Settings;
use auditshield::domain::schedule::Policy;

use crate::chance::Chance;

#[derive(Debug, Clone)]
pub struct Knobs {
    pub settings: Settings,
    pub policy: Policy,
    pub segment_bytes: u64,
    pub batch_bytes: usize,
    /// The longest fdatasync, in milliseconds.
    pub sync_ms: u64,
    /// The longest rest of the index between two batches, in milliseconds.
    pub index_ms: u64,
    /// The longest way to CinetPay and back, in milliseconds, while all is well.
    pub network_ms: u64,
    pub buyers: u64,
    /// How long buyers come and trouble lasts, in milliseconds.
    pub chaos_ms: u64,
    /// Processes that die and machines that lose power.
    pub crashes: bool,
    /// Full disks, failing writes and syncs.
    pub disk: bool,
    /// CinetPay and the mail server unreachable, slow, or not making sense.
    pub network: bool,
    /// Panics in actors and errands.
    pub panics: bool,
    /// Steps of the clock.
    pub clock: bool,
    /// The hour's mails run out now and then.
    pub mail_cap: bool,
}

impl Knobs {
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::of(seed, "knobs");
        let c = &mut chance;
        let millis = Duration::from_millis;
        let tight = c.one_in(3);
        let errand_permits = if tight { 1 } else { usize_of(c.between(1, 3)) };
        let chaos_ms = c.skewed(5_000, 400_000);
        let mut knobs = Self {
            settings: Settings {
                seats: usize_of(if tight { c.between(2, 4) } else { c.between(4, 16) }),
                asks_max: usize_of(c.pick(&[2, 4, 16, 64, 4096])),
                verify_max: errand_permits,
                open_max: errand_permits,
                deliver_max: errand_permits,
                patience: millis(c.pick(&[1_000, 25_000])),
                errand_time: millis(c.pick(&[800, 5_000, 20_000])),
                tick: millis(c.pick(&[500, 1_000, 3_000])),
                ..Settings::default()
            },
            policy: Policy {
                first_poll: millis(c.pick(&[1_000, 5_000, 30_000])),
                horizon: millis(c.skewed(60_000, 1_200_000)),
                link_ttl: millis(c.pick(&[60_000, 600_000, 259_200_000])),
                max_downloads: u32::try_from(c.between(1, 3)).unwrap(),
                remind_before: None,
            },
            segment_bytes: c.pick(&[1, 2_000, 20_000, 1 << 26]),
            batch_bytes: usize_of(c.pick(&[1, 1_500, 1 << 20])),
            sync_ms: c.pick(&[0, 3, 40, 400]),
            index_ms: c.pick(&[1, 200, 3_000]),
            network_ms: c.pick(&[1, 50, 700]),
            buyers: c.between(2, 14),
            chaos_ms,
            crashes: !c.one_in(4),
            disk: c.one_in(3),
            network: !c.one_in(4),
            panics: c.one_in(3),
            clock: c.one_in(3),
            // A stream of its own: every other choice of a seed stays what it was.
            mail_cap: Chance::of(seed, "mail cap").one_in(8),
        };
        knobs.policy.remind_before = reminder(seed, knobs.policy.link_ttl);
        knobs
    }
}

/// A half or a third of the link's life, so that links of minutes are reminded of while the story lasts. Drawn from a stream
/// of its own: what the seeds drew before stays as it was.
fn reminder(seed: u64, link_ttl: Duration) -> Option<Duration> {
    let parts = Chance::of(seed, "reminder").pick(&[0, 2, 2, 2, 3]);
    (parts > 0).then(|| link_ttl / u32::try_from(parts).unwrap())
}

pub fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
