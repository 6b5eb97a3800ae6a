//! Permits that all nodes draw from one row, by the database's clock.
//!
//! Invariant: in no span is more granted than the quota says, whoever draws, dies, is stopped or joins: the row is the only
//! memory, and one statement reads and moves it. A drawing whose answer is lost has been counted, and brings nothing.
//!
//! Why `now()`, the moment at which the statement arrived: one that had to wait for the row counts as having been asked
//! before it waited, so nothing is drawn on credit, and the statement sees one time. What those before it drew meanwhile may
//! stand further ahead than that moment allows, and must not be cut down to it.

use std::time::Duration;

use super::row::get;
use super::trouble::Trouble;
use super::{Inner, Postgres};
use crate::domain::quota::{Drawn, Quota};
use crate::ledger::LedgerError;

const DRAW: &str = include_str!("sql/draw.sql");

impl Postgres {
    pub(in crate::ledger) async fn draw(&self, quota: Quota, most: u32) -> Result<Drawn, LedgerError> {
        let asked = self.run(move |inner| async move {
            let drawn = inner.draw(quota, most).await;
            if let Err(trouble) = &drawn {
                inner.pulse.note(trouble);
            }
            drawn
        });
        Ok(asked.await.ok_or(LedgerError::Closed)??)
    }
}

impl Inner {
    async fn draw(&self, quota: Quota, most: u32) -> Result<Drawn, Trouble> {
        let most = i64::from(most.clamp(1, quota.burst()));
        let (cost, ahead) = (micros(quota.cost()), micros(quota.ahead()));
        let purpose = quota.purpose.code();
        let rows = self.pool.rows(DRAW, &[&purpose, &cost, &ahead, &most]).await?;
        let row = rows.first().ok_or_else(|| Trouble::Damaged("no row came back".to_owned()))?;
        let (granted, wait): (i64, i64) = (get(row, 0)?, get(row, 1)?);
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(0));
        Ok(Drawn { granted: u32::try_from(granted).unwrap_or(0), wait })
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
