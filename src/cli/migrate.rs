//! `ledger migrate`: the whole ledger from a folder into a PostgreSQL database, or back.

#[cfg(feature = "postgres")]
use super::refuse;
use super::{Failure, Source, output};
#[cfg(feature = "postgres")]
use crate::config::{self, Store};
#[cfg(feature = "postgres")]
use crate::ledger::migrate::{MigrateError, Migrated, Place, Stage, migrate};

pub(super) const HELP: &str = "\
Services arrêtés. Interrompu, il se relance et reprend ; jusqu'à sa fin, aucun service ne démarre sur la cible.
Ce qui n'est pas donné est AUDITSHIELD_STORE__URL : un mot de passe n'a pas à paraître dans « ps ».
The daemons stopped. Interrupted, it is run again and goes on; until its end no daemon starts on the target.
What is not given is AUDITSHIELD_STORE__URL: a password need not show in `ps`.

Exemples / Examples:
  auditshield ledger migrate --from sled:/var/lib/auditshield/store --to postgres://user:password@host/database
  auditshield ledger migrate --from sled:/var/lib/auditshield/store --json
  auditshield ledger migrate --from postgres://user:password@host/database --to sled:/var/lib/auditshield/store";

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("ends").args(["from", "to"]).required(true).multiple(true))]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    source: Source,
    /// La source, sled:… ou postgres://… [défaut : celle des réglages] · The source [default: the settings']
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// La cible, vide ou à reprendre [défaut : celle des réglages] · The target, empty or to be gone on with
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Résultat en JSON · Result as JSON
    #[arg(long)]
    json: bool,
}

#[cfg(not(feature = "postgres"))]
pub(super) fn run(args: MigrateArgs) -> Result<(), Failure> {
    let MigrateArgs { source: _, from: _, to: _, json: _ } = args;
    output::complain(
        &"ce programme est compilé sans PostgreSQL, d'où ou vers où un registre se déplace : prenez celui de « cargo build \
          --release --features postgres » (docs/scaling.md) / this program was built without PostgreSQL, which a ledger \
          moves from or to: take the one of `cargo build --release --features postgres` (docs/scaling.md)",
    );
    Err(Failure::Unavailable)
}

#[cfg(feature = "postgres")]
pub(super) fn run(args: MigrateArgs) -> Result<(), Failure> {
    let (from, to) = (end(&args.source, args.from, "--from")?, end(&args.source, args.to, "--to")?);
    let mut bar = super::progress::Progress::stages();
    let moved = migrate(&from, &to, &mut |stage, done, of| bar.stage(name(stage), done, of));
    bar.end();
    let moved = moved.map_err(|fault| refused(&fault))?;
    if args.json {
        output::json(&serde_json::to_value(&moved).map_err(|_| Failure::Failed)?);
    } else {
        print(&moved);
    }
    Ok(())
}

/// Where one end is. The text may hold a password: it is not repeated.
#[cfg(feature = "postgres")]
fn end(source: &Source, given: Option<String>, argument: &str) -> Result<Place, Failure> {
    let store = match given {
        None => config::load_store(&source.clone().given()).map_err(|problems| refuse(&problems))?,
        Some(text) => config::read_store(&text).map_err(|(french, english)| {
            output::complain(&format_args!("{argument} : {french} / {argument}: {english}"));
            Failure::Usage
        })?,
    };
    Ok(match store {
        Store::Sled(folder) => Place::Folder(folder),
        Store::Postgres(url) => Place::Database(url.expose().to_owned()),
    })
}

#[cfg(feature = "postgres")]
fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Verify => "vérification/verifying",
        Stage::Copy => "copie/copying",
        Stage::Compare => "comparaison/comparing",
    }
}

#[cfg(feature = "postgres")]
fn refused(fault: &MigrateError) -> Failure {
    output::complain(fault);
    match fault {
        MigrateError::SameKind => Failure::Usage,
        _ if fault.is_configuration() => Failure::Config,
        _ if fault.is_unavailable() => Failure::Unavailable,
        _ => Failure::Failed,
    }
}

#[cfg(feature = "postgres")]
fn print(moved: &Migrated) {
    let list = |parts: Vec<String>| if parts.is_empty() { "-".to_owned() } else { parts.join(" · ") };
    let statuses = moved.statuses.iter().map(|(status, count)| format!("{status} {count}"));
    let receipts = moved.receipts.iter().map(|(year, last)| format!("{year}: 1–{last}"));
    let head = |head: &Option<String>| head.clone().unwrap_or_else(|| "-".to_owned());
    output::say(format_args!(
        "OK · {} → {}{} · {} commandes/orders · {} lignes/lines · {} effacées/erased · {} clés d'idempotence/idempotency keys",
        moved.from,
        moved.to,
        if moved.resumed { " (repris/resumed)" } else { "" },
        moved.orders,
        moved.lines,
        moved.erased,
        moved.requests,
    ));
    output::say(format_args!("états/statuses: {}", list(statuses.collect())));
    output::say(format_args!("reçus/receipts: {}", list(receipts.collect())));
    output::say(format_args!("chaînes, égales des deux côtés/chains, equal on both sides: {}", moved.chains));
    output::say(format_args!("tête de la source/the source's head: {}", head(&moved.source_head)));
    output::say(format_args!("tête de la cible/the target's head: {}", head(&moved.target_head)));
}
