//! Permits without a database, for the tests of those who draw them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::quota::{Drawn, Quota};
use crate::ports::{Permits, PortFuture};

/// What the database's rows do, in memory and by the runtime's clock.
#[derive(Default)]
pub(super) struct Table {
    /// For each purpose: when the first was drawn, and up to when after that it is paid for.
    rows: Mutex<HashMap<&'static str, (Instant, Duration)>>,
    asked: std::sync::atomic::AtomicUsize,
    /// What the answer takes to come.
    way: Duration,
}

impl Table {
    pub(super) fn at(way: Duration) -> Self {
        Self { way, ..Self::default() }
    }

    /// How often somebody drew.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn move_row(&self, quota: Quota, most: u32) -> Drawn {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, spent) = rows.entry(quota.purpose.code()).or_insert((Instant::now(), Duration::ZERO));
        let now = begun.elapsed();
        let from = now.max(*spent);
        let room = (now + quota.ahead()).saturating_sub(from);
        let free = u32::try_from(room.as_nanos() / quota.cost().as_nanos()).unwrap_or(u32::MAX);
        let granted = free.min(most).min(quota.burst());
        *spent = from + quota.cost() * granted;
        let wait = (*spent + quota.cost()).saturating_sub(now + quota.ahead());
        Drawn { granted, wait }
    }
}

impl Permits for Table {
    fn draw(&self, quota: Quota, most: u32) -> PortFuture<'_, Option<Drawn>> {
        Box::pin(async move {
            let drawn = self.move_row(quota, most);
            if !self.way.is_zero() {
                tokio::time::sleep(self.way).await;
            }
            Some(drawn)
        })
    }
}

/// A database that is away.
pub(super) struct Nobody;

impl Permits for Nobody {
    fn draw(&self, _: Quota, _: u32) -> PortFuture<'_, Option<Drawn>> {
        Box::pin(std::future::ready(None))
    }
}
