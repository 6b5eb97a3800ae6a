//! What only a shared ledger can do wrong: several nodes, leases, lost answers, tables of another version.
//!
//! `AUDITSHIELD_POSTGRES` names a server on which databases may be made; tests/postgres/run starts one.

mod again;
mod balancer;
mod cluster;
mod demo;
mod failover;
mod fleet;
mod gate;
mod judge;
mod limits;
#[cfg(feature = "failpoints")]
mod limits_fleet;
mod lost;
mod migrate;
mod migrate_refused;
mod migrated;
mod nodes;
mod partition;
mod sealed;
mod street;
mod tables;
mod upgrade;

use auditshield::ledger::{Ledger, Report};
use auditshield::simulator::database::Server;
use tokio_postgres::{NoTls, Row};

/// Whether servers may be started and daemons killed: tests/postgres/run installs what that takes, and asks for it.
pub(crate) fn is_asked_for() -> bool {
    let asked = std::env::var_os("AUDITSHIELD_POSTGRES").is_some();
    if !asked {
        println!("not run on PostgreSQL: tests/postgres/run installs it, and sets AUDITSHIELD_POSTGRES");
    }
    asked
}

/// A database of its own.
pub(crate) struct Database {
    /// Its server, as `postgres://user@host:port`.
    server: String,
    name: String,
}

impl Database {
    /// Makes one. None without a server.
    pub(crate) async fn new() -> Option<Database> {
        if !is_asked_for() {
            return None;
        }
        let server = std::env::var("AUDITSHIELD_POSTGRES").unwrap();
        Some(Database::on(server).await)
    }

    /// Makes one on a server of one's own.
    pub(crate) async fn at(server: &Server) -> Database {
        Database::on(format!("{}@127.0.0.1:{}", server.user(), server.port())).await
    }

    async fn on(server: String) -> Database {
        let name = format!("ledger_{:016x}", rand::random::<u64>());
        let database = Database { server, name };
        let admin = format!("{}/postgres", database.server);
        run_at(&admin, &format!("create database {}", database.name)).await;
        database
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}?sslmode=disable", self.server, self.name)
    }

    /// The same through another door.
    pub(crate) fn url_by(&self, port: u16) -> String {
        self.url_at(&format!("127.0.0.1:{port}"))
    }

    /// The same at these hosts, `host:port,…`.
    pub(crate) fn url_at(&self, hosts: &str) -> String {
        let (user, _) = self.server.rsplit_once('@').expect("user@host");
        format!("{user}@{hosts}/{}?sslmode=disable", self.name)
    }

    /// The same database as another server has it.
    pub(crate) fn moved_to(&self, server: &Server) -> Database {
        let server = format!("{}@127.0.0.1:{}", server.user(), server.port());
        Database { server, name: self.name.clone() }
    }

    /// Where its server listens.
    pub(crate) fn address(&self) -> &str {
        self.server.rsplit_once('@').expect("user@host").1
    }

    /// A node on it.
    pub(crate) fn open(&self) -> Ledger {
        Ledger::connect(&self.url()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Changes its settings for new connections.
    pub(crate) async fn alter(&self, what: &str) {
        self.run(&format!("alter database {} {what}", self.name)).await;
    }

    /// What it holds, behind the nodes' backs.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Row> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let rows = client.query(sql, &[]).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
        rows
    }

    /// Does something behind the nodes' backs.
    pub(crate) async fn run(&self, sql: &str) {
        run_at(&self.url(), sql).await;
    }
}

/// Verifies it.
pub(crate) fn verified(ledger: &Ledger) -> Report {
    ledger.verify_shared(&mut |_| ()).unwrap().expect("a shared ledger")
}

async fn run_at(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}
