//! What the database commits by itself: pgbench with the daemon's own statement, and nothing else.

use std::path::Path;
use std::process::Command;

use auditshield::simulator::database::Server;

use crate::Outcome;
use crate::stock::Kind;

/// The commit of a notification, as the daemon sends it.
const COMMIT: &str = include_str!("../../src/ledger/postgres/sql/commit.sql");
/// Connections: as many as one daemon opens.
const CLIENTS: usize = 24;
/// A line's body is about as long as this.
const BODY_BYTES: usize = 260;

/// The statement with values of pgbench's in the places of the daemon's. The order is drawn; that nobody else was first is
/// not asked, since nobody else is there: the row's own version and head stand for those that a daemon would have read.
fn script(born: i64, orders: usize) -> Outcome<String> {
    let number = Kind::Open(born).order_id(0).bytes();
    let low = u64::from_be_bytes(number[8..].try_into()?);
    let (millis, high) = (&number[..6], u16::from_be_bytes(number[6..8].try_into()?));
    let millis = millis.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let id = format!(
        "decode(lpad(to_hex({millis} + :n), 12, '0') || '{high:04x}' || lpad(to_hex({low} + :n), 16, '0'), 'hex')"
    );
    let body = format!("convert_to(repeat('x', {BODY_BYTES}), 'UTF8')");
    let values = [
        ("$15::boolean", "false"),
        ("$14::bytea", body.as_str()),
        ("$13::bytea", "uuid_send(gen_random_uuid())"),
        ("$12::int8", "null::int8"),
        ("$11::text", "'pgbench'::text"),
        ("$4::text", "repeat('0', 64)"),
        ("$2::int8 + 1", "version"),
        ("version = $2", "version >= 0"),
        ("head = $3", "head is not null"),
        ("returning id", "returning id, version"),
        ("$11", "'pgbench'"),
        ("$10", "stalled"),
        ("$9", "tx_hash"),
        ("$8", "email_hash"),
        ("$7", "due_ms"),
        ("$6", "status"),
        ("$5", "snapshot"),
        ("$4", "head"),
        ("$1", id.as_str()),
    ];
    let mut sql = COMMIT.to_owned();
    for (place, value) in values {
        if !sql.contains(place) {
            return Err(format!("the statement has no {place} any more: {COMMIT}").into());
        }
        sql = sql.replace(place, value);
    }
    Ok(format!("\\set n random(0, {})\n{};\n", orders - 1, sql.trim()))
}

/// Commits per second of so many transactions on `database`.
pub(crate) fn rate(
    server: &Server,
    database: &str,
    folder: &Path,
    (born, orders): (i64, usize),
    count: usize,
) -> Outcome<f64> {
    let file = folder.join("commit.pgbench");
    std::fs::write(&file, script(born, orders)?)?;
    let output = Command::new(server.program("pgbench"))
        .args(["-n", "-M", "prepared", "-c", &CLIENTS.to_string(), "-j", "1"])
        .args(["-t", &count.div_ceil(CLIENTS).to_string(), "-f"])
        .arg(&file)
        .arg(server.url(database))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = line.and_then(|rest| rest.split(' ').next()?.parse().ok());
    rate.ok_or_else(|| format!("pgbench: {said}{}", String::from_utf8_lossy(&output.stderr)).into())
}
