//! `ledger verify`: the journal's chain, each order's events and invariants, and the index of a closed store.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Failure, Source, output, refuse};
use crate::config::{self, Store};
use crate::ledger::{self, OpenError};

#[derive(Subcommand)]
pub(super) enum LedgerCommand {
    /// Vérifie le journal ; le service peut tourner · Verifies the journal; the daemon may be running
    #[command(after_help = "Exemples / Examples:
  auditshield ledger verify
  auditshield ledger verify --store /var/lib/auditshield/store --json")]
    Verify(VerifyArgs),
}

#[derive(clap::Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    source: Source,
    /// Dossier du registre [défaut : celui des réglages] · The store's folder [default: the settings']
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// Résultat en JSON · Result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: LedgerCommand) -> Result<(), Failure> {
    let LedgerCommand::Verify(args) = command;
    let folder = match args.store {
        Some(folder) => folder,
        None => {
            let store = config::load_store(&args.source.given()).map_err(|problems| refuse(&problems))?;
            let Store::Sled(folder) = store;
            folder
        }
    };
    if !folder.is_dir() {
        output::complain(&format_args!(
            "« {} » : ce dossier n'existe pas — vérifiez AUDITSHIELD_STORE__URL / no such folder — check it",
            folder.display()
        ));
        return Err(Failure::Unavailable);
    }
    let report = ledger::verify(&folder, &mut |_| {}).map_err(|fault: OpenError| {
        output::complain(&fault);
        Failure::Failed
    })?;
    if args.json {
        let mut value = serde_json::to_value(&report).map_err(|_| Failure::Failed)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("sound".to_owned(), report.is_sound().into());
        }
        output::json(&value);
    } else {
        print(&report);
    }
    if report.is_sound() { Ok(()) } else { Err(Failure::Failed) }
}

fn print(report: &ledger::Report) {
    for finding in &report.findings {
        output::say(finding);
    }
    let head = report.head.as_deref().unwrap_or("-");
    output::say(format_args!(
        "{} · {} lignes/lines · {} commandes/orders · {} segments · index {} · {head}",
        if report.is_sound() { "OK" } else { "KO" },
        report.lines,
        report.orders,
        report.segments,
        if report.index_compared { "comparé/compared" } else { "non comparé/not compared" },
    ));
}
