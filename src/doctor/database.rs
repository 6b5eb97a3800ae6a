//! The database that several daemons share: whether it answers, and whether what it acknowledges outlives it.

use super::{Finding, Patient};
use crate::config::Store;
#[cfg(feature = "postgres")]
use crate::ledger::Ledger;
use crate::ledger::cluster::{Database, Replication, Role};

/// What makes replication synchronous. Two standbys at least: with one, commits wait while it is away.
const REMEDY: &str = "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (a, b)'; SELECT pg_reload_conf();";

pub(super) async fn examine(patient: &Patient) -> Vec<Finding> {
    match &patient.config.store {
        Store::Sled(_) => Vec::new(),
        #[cfg(feature = "postgres")]
        Store::Postgres(url) => match Ledger::survey(url.expose()).await {
            Ok(database) => judge(&database),
            // Its text names no password.
            Err(error) => {
                let text = error.to_string();
                let (fr, en) = text.split_once(" / ").unwrap_or((&text, &text));
                vec![Finding::failure("database", fr, en)]
            }
        },
        // The settings refuse such an address in this build.
        #[cfg(not(feature = "postgres"))]
        Store::Postgres(_) => Vec::new(),
    }
}

#[cfg_attr(not(any(feature = "postgres", test)), expect(dead_code, reason = "there is no database to judge"))]
fn judge(database: &Database) -> Vec<Finding> {
    let version = database.version.as_deref().unwrap_or("?");
    let answers = match database.role {
        Role::Standby => Finding::failure(
            "database",
            format!(
                "{version} : serveur de secours, rien ne peut y être écrit — nommez aussi le primaire dans \
                 AUDITSHIELD_STORE__URL (hôte1,hôte2)"
            ),
            format!(
                "{version}: a standby, nothing can be written there — name the primary too in AUDITSHIELD_STORE__URL \
                 (host1,host2)"
            ),
        ),
        Role::Primary | Role::Unknown => Finding::good("database", version, version),
    };
    vec![answers, replication(database)]
}

fn replication(database: &Database) -> Finding {
    const CHECK: &str = "replication";
    match database.replication {
        Replication::Alone => Finding::note(
            CHECK,
            "aucun serveur de secours n'est connecté : si ce serveur est perdu, la dernière copie fait foi — docs/scaling.md",
            "no standby is connected: if this server is lost, the newest copy is what is left — docs/scaling.md",
        ),
        Replication::Synchronous => Finding::good(
            CHECK,
            "synchrone : ce qui est confirmé est sur deux serveurs",
            "synchronous: what is acknowledged is on two servers",
        ),
        Replication::Asynchronous => Finding::warning(
            CHECK,
            format!("asynchrone : un basculement peut perdre des paiements confirmés — {REMEDY}"),
            format!("asynchronous: a fail-over may lose acknowledged payments — {REMEDY}"),
        ),
        Replication::Awaited => Finding::warning(
            CHECK,
            "les écritures attendent un serveur de secours qui n'est pas connecté — rallumez celui que nomme \
             synchronous_standby_names, ou nommez-en deux : ANY 1 (a, b)",
            "commits wait for a standby that is not connected — start the one that synchronous_standby_names names, or \
             name two: ANY 1 (a, b)",
        ),
        Replication::Hidden => Finding::note(
            CHECK,
            "ce rôle ne peut pas voir si la réplication est synchrone — GRANT pg_read_all_stats au rôle, puis relancez",
            "this role may not see whether replication is synchronous — GRANT pg_read_all_stats to it, then try again",
        ),
        Replication::Consensus => Finding::good(
            CHECK,
            "par consensus, le moteur s'en charge (non essayé ici)",
            "by consensus, the engine sees to it (not tried here)",
        ),
        Replication::Unknown => Finding::note(
            CHECK,
            "la base ne dit pas comment elle est répliquée — demandez à qui l'administre si une écriture confirmée est sur \
             deux serveurs",
            "the database does not say how it replicates — ask who runs it whether an acknowledged commit is on two servers",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, worst};
    use super::*;

    #[test]
    fn a_database_that_may_lose_what_it_acknowledged_is_a_warning() {
        let check = |role, replication, want: Severity, en: &str| {
            let found = judge(&Database { role, replication, ..Database::default() });
            assert_eq!(worst(&found), want, "{found:?}");
            assert!(found.iter().any(|finding| finding.en.contains(en)), "{found:?}");
            assert!(found.iter().all(|finding| !finding.fr.is_empty()), "{found:?}");
        };
        let primary = |replication, want, en| check(Role::Primary, replication, want, en);
        primary(Replication::Alone, Severity::Note, "no standby is connected");
        primary(Replication::Synchronous, Severity::Good, "on two servers");
        primary(Replication::Asynchronous, Severity::Warning, "ANY 1 (a, b)");
        primary(Replication::Awaited, Severity::Warning, "not connected");
        primary(Replication::Hidden, Severity::Note, "pg_read_all_stats");
        primary(Replication::Consensus, Severity::Good, "consensus");
        primary(Replication::Unknown, Severity::Note, "does not say");
        check(Role::Standby, Replication::Alone, Severity::Failure, "name the primary");
    }
}
