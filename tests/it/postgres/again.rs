//! One commit in twenty is refused by PostgreSQL itself with 40001, at the very commit: nobody outside notices.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fleet::{Fleet, server};
use super::judge::judge;
use super::street::Buyers;
use super::{Database, is_asked_for};

/// Orders sold meanwhile: four commits each, and more.
const ORDERS: usize = 120;
const BUYERS: usize = 4;
/// How long nothing at all may come to rest in the end.
const REST: Duration = Duration::from_secs(60);
/// Refused commits without which the test proves nothing: a quarter of those that are to be expected.
const REFUSED_MIN: i64 = 6;

/// Fires when a transaction that wrote a line is committed. A sequence keeps count of what is rolled back.
const REFUSALS: &str = "
    create sequence refused;
    create function refuse() returns trigger language plpgsql as $$
    begin
        if random() < 0.05 then
            perform nextval('refused');
            raise exception 'refused by the test' using errcode = '40001';
        end if;
        return null;
    end $$;
    create constraint trigger refuse after insert on auditshield_lines
        deferrable initially deferred for each row execute function refuse();";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_commit_in_twenty_is_refused_and_nobody_notices() {
    if !is_asked_for() {
        return;
    }
    let server = server(&[]);
    let database = Database::at(&server).await;
    let mut fleet = Fleet::start(&database.url(), &[]).await;
    database.run(REFUSALS).await;
    let mut buyers = Buyers::at(&fleet, BUYERS);
    buyers.until(ORDERS).await;
    let street = buyers.end().await;
    let promised = std::mem::take(&mut *street.promised());
    let found = judge(&fleet, &database, &promised, REST).await;
    let rows = database.rows("select case when is_called then last_value else 0 end from refused").await;
    let refused: i64 = rows[0].get(0);
    println!(
        "again: {refused} commits refused with 40001, {} orders promised, {} requests refused or unanswered; {}",
        promised.len(),
        street.refused.load(Ordering::SeqCst),
        found.counts()
    );
    assert!(refused >= REFUSED_MIN, "{refused} commits were refused");
    assert!(found.is_empty(), "{}", found.told());
    assert_eq!(street.refused.load(Ordering::SeqCst), 0, "somebody noticed");
    fleet.end().await;
}
