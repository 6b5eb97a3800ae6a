//! What only a shared ledger can do wrong: several nodes, leases, lost answers, tables of another version.
//!
//! `AUDITSHIELD_POSTGRES` names a server on which databases may be made; tests/postgres/run starts one.

mod cluster;
mod gate;
mod lost;
mod nodes;
mod sealed;
mod tables;
mod upgrade;

use auditshield::ledger::{Ledger, Report};
use tokio_postgres::NoTls;

/// A database of its own.
pub(crate) struct Database {
    /// Its server, as `postgres://user@host:port`.
    server: String,
    name: String,
}

impl Database {
    /// Makes one. None without a server.
    pub(crate) async fn new() -> Option<Database> {
        let Ok(server) = std::env::var("AUDITSHIELD_POSTGRES") else {
            println!("not run on PostgreSQL: tests/postgres/run starts one, and sets AUDITSHIELD_POSTGRES");
            return None;
        };
        let name = format!("ledger_{:016x}", rand::random::<u64>());
        let database = Database { server, name };
        let admin = format!("{}/postgres", database.server);
        run_at(&admin, &format!("create database {}", database.name)).await;
        Some(database)
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}?sslmode=disable", self.server, self.name)
    }

    /// The same through another door.
    pub(crate) fn url_by(&self, port: u16) -> String {
        let (user, _) = self.server.rsplit_once('@').expect("user@host");
        format!("{user}@127.0.0.1:{port}/{}?sslmode=disable", self.name)
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
