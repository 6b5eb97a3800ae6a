//! Chance that can be repeated.

/// Numbers that look random; the seed is printed, so that a failure can be run again.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let given = std::env::var("AUDITSHIELD_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed =
            given.unwrap_or_else(|| u64::from(now.subsec_nanos()) << 16 | u64::from(std::process::id()));
        println!("AUDITSHIELD_SEED={seed}");
        Self(seed | 1)
    }

    /// Those of this seed.
    #[allow(dead_code, reason = "the storms of tests/crash share this module")]
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// One of `0..below` (xorshift64*).
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }
}
