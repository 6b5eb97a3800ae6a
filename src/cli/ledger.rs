//! `ledger …`: verifying, copying, restoring, reading and re-indexing the store, beside the daemon or without it.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::aside::Aside;
use super::progress::Progress;
use super::{Failure, Source, output, refuse};
use crate::config::{self, Secret, Store};
use crate::domain::values::OrderId;
use crate::ledger::{self, BackupError, Copied, LostKeys, OpenError};

#[derive(Subcommand)]
pub(super) enum LedgerCommand {
    /// Vérifie journal, commandes et index ; le service peut tourner · Verifies journal, orders and index; the daemon may run
    #[command(
        after_help = "L'index n'est comparé que service arrêté. / The index is compared only while the daemon is stopped.

Exemples / Examples:
  auditshield ledger verify
  auditshield ledger verify --store /var/lib/auditshield/store --json
  auditshield ledger verify --store /mnt/backup          une sauvegarde / a backup"
    )]
    Verify(JsonArgs),
    /// Refait l'index à partir du journal, service arrêté · Makes the index anew from the journal, the daemon stopped
    #[command(after_help = "Code 69 si le service tourne. / Exit code 69 while the daemon runs.

Exemples / Examples:
  auditshield ledger rebuild
  auditshield ledger rebuild --accept-lost-keys      des clés perdues pour de bon / keys that are gone for good")]
    Rebuild(RebuildArgs),
    /// Copie le journal dans un dossier ; le service peut tourner · Copies the journal to a folder; the daemon may run
    #[command(
        after_help = "Une sauvegarde suivante dans le même dossier ne copie que le nouveau. Contient des données personnelles.
A later backup to the same folder copies only what is new. It holds personal data.

Exemples / Examples:
  auditshield ledger backup /mnt/backup
  0 * * * *  auditshield ledger backup --store /var/lib/auditshield/store /mnt/backup     (cron)"
    )]
    Backup(BackupArgs),
    /// Recrée un registre dans un endroit vide · Makes a store in an empty place from a backup
    #[command(after_help = "Chaque ligne est vérifiée ; l'index est refait au premier démarrage.
Every line is verified; the index is made at the first start.

Exemples / Examples:
  auditshield ledger restore /mnt/backup /var/lib/auditshield/store")]
    Restore(RestoreArgs),
    /// Écrit l'histoire en JSON Lines · Writes the history as JSON Lines
    #[command(
        after_help = "Contient les données personnelles des acheteurs (nom, e-mail, téléphone) : à protéger et à effacer après usage.
Holds the buyers' personal data (name, e-mail, telephone): protect it, and delete it after use.

Exemples / Examples:
  auditshield ledger export > history.jsonl
  auditshield ledger export --order 01JD0QZ6Y3V9K2M4N6P8R0S2T4
  auditshield ledger export --output history.jsonl"
    )]
    Export(ExportArgs),
    /// Déplace le registre d'un dossier vers PostgreSQL, ou l'inverse · Moves the ledger from a folder to PostgreSQL, or back
    #[command(after_help = super::migrate::HELP)]
    Migrate(super::migrate::MigrateArgs),
}

#[derive(clap::Args)]
pub(super) struct Where {
    #[command(flatten)]
    source: Source,
    /// Dossier du registre [défaut : celui des réglages] · The store's folder [default: the settings']
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(super) struct JsonArgs {
    #[command(flatten)]
    place: Where,
    /// Résultat en JSON · Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct RebuildArgs {
    #[command(flatten)]
    common: JsonArgs,
    #[command(flatten)]
    keys: KeysArgs,
}

#[derive(clap::Args)]
pub(super) struct KeysArgs {
    /// Continue sans les clés perdues : ces données personnelles le sont aussi · Goes on without keys that are lost
    #[arg(long)]
    accept_lost_keys: bool,
}

impl KeysArgs {
    fn lost(&self) -> LostKeys {
        if self.accept_lost_keys { LostKeys::Accepted } else { LostKeys::Refused }
    }
}

#[derive(clap::Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    common: JsonArgs,
    /// Où sauvegarder · Where to back up to
    #[arg(value_name = "BACKUP")]
    target: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct RestoreArgs {
    /// La sauvegarde · The backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Le nouveau registre, vide ou absent · The new store, empty or missing
    #[arg(value_name = "STORE")]
    place: PathBuf,
    #[command(flatten)]
    keys: KeysArgs,
    /// Résultat en JSON · Result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    place: Where,
    /// Cette commande seulement · This order only
    #[arg(long, value_name = "ORDER", value_parser = order)]
    order: Option<OrderId>,
    /// Fichier à créer [défaut : sortie standard] · File to make [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn order(text: &str) -> Result<OrderId, String> {
    OrderId::parse(text).map_err(|_| "26 caractères / 26 characters: 01JD0QZ6Y3V9K2M4N6P8R0S2T4".to_owned())
}

pub(super) fn run(command: LedgerCommand) -> Result<(), Failure> {
    match command {
        LedgerCommand::Verify(args) => verify(args),
        LedgerCommand::Rebuild(args) => rebuild(args),
        LedgerCommand::Backup(args) => backup(args),
        LedgerCommand::Restore(args) => restore(&args),
        LedgerCommand::Export(args) => export(args),
        LedgerCommand::Migrate(args) => super::migrate::run(args),
    }
}

impl Where {
    /// The store: a folder that is there, or a database.
    fn store(self) -> Result<Store, Failure> {
        let store = match self.store {
            Some(folder) => Store::Sled(folder),
            None => config::load_store(&self.source.given()).map_err(|problems| refuse(&problems))?,
        };
        match &store {
            Store::Sled(folder) if !folder.is_dir() => Err(no_folder(folder)),
            Store::Sled(_) | Store::Postgres(_) => Ok(store),
        }
    }

    fn folder(self) -> Result<PathBuf, Failure> {
        match self.store()? {
            Store::Sled(folder) => Ok(folder),
            Store::Postgres(_) => Err(not_a_folder()),
        }
    }
}

/// Copies and the index are matters of a folder: a database has its own.
fn not_a_folder() -> Failure {
    output::complain(
        &"AUDITSHIELD_STORE__URL désigne une base PostgreSQL : cette commande travaille sur un dossier (pg_dump copie une \
          base). / AUDITSHIELD_STORE__URL names a PostgreSQL database: this command works on a folder (pg_dump copies a \
          database).",
    );
    Failure::Unavailable
}

fn no_folder(folder: &Path) -> Failure {
    output::complain(&format_args!(
        "« {} » : ce dossier n'existe pas — vérifiez AUDITSHIELD_STORE__URL / no such folder — check it",
        folder.display()
    ));
    Failure::Unavailable
}

fn refused(fault: &OpenError) -> Failure {
    output::complain(fault);
    if matches!(fault, OpenError::InUse(_)) { Failure::Unavailable } else { Failure::Failed }
}

fn not_copied(fault: &BackupError) -> Failure {
    output::complain(fault);
    if fault.is_unavailable() { Failure::Unavailable } else { Failure::Failed }
}

fn verify(args: JsonArgs) -> Result<(), Failure> {
    let report = match args.place.store()? {
        Store::Postgres(url) => verify_database(&url)?,
        Store::Sled(folder) => {
            let mut bar = Progress::over(&folder.join("journal"));
            let report = ledger::verify(&folder, &mut |bytes| bar.at(bytes));
            let report = report.map_err(|fault| refused(&fault))?;
            bar.end();
            report
        }
    };
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

/// Every order of a shared ledger; daemons may be at work meanwhile.
#[cfg(feature = "postgres")]
fn verify_database(url: &Secret) -> Result<ledger::Report, Failure> {
    let ledger = ledger::Ledger::connect(url.expose()).map_err(|fault| refused(&fault))?;
    let report = ledger.verify_shared(&mut |_| ());
    // Nobody need wait for a node that does not end.
    super::runtime(super::THREADS_MAX)?.block_on(ledger.close());
    let report = report.map_err(|fault| {
        output::complain(&fault);
        Failure::Unavailable
    })?;
    report.ok_or(Failure::Failed)
}

/// The settings refuse such an address in this build.
#[cfg(not(feature = "postgres"))]
fn verify_database(_: &Secret) -> Result<ledger::Report, Failure> {
    Err(Failure::Failed)
}

fn print(report: &ledger::Report) {
    for finding in &report.findings {
        output::say(finding);
    }
    if report.erased + report.given_up > 0 {
        output::say(format_args!(
            "{} commandes effacées/orders erased · {} clés perdues acceptées/lost keys accepted",
            report.erased, report.given_up
        ));
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

fn rebuild(args: RebuildArgs) -> Result<(), Failure> {
    let lost_keys = args.keys.lost();
    let args = args.common;
    let folder = args.place.folder()?;
    let seq = ledger::rebuild_with(&folder, lost_keys).map_err(|fault| refused(&fault))?;
    if args.json {
        output::json(&serde_json::json!({ "seq": seq }));
    } else {
        output::say(format_args!("OK · index refait jusqu'à la ligne {seq} / index made up to line {seq}"));
    }
    Ok(())
}

fn backup(args: BackupArgs) -> Result<(), Failure> {
    let folder = args.common.place.folder()?;
    let mut bar = Progress::over(&folder.join("journal"));
    let copied = ledger::backup(&folder, &args.target, &mut |bytes| bar.at(bytes))
        .map_err(|fault| not_copied(&fault))?;
    bar.end();
    tell(&copied, args.common.json)
}

fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    if !args.backup.is_dir() {
        return Err(no_folder(&args.backup));
    }
    let mut bar = Progress::over(&args.backup.join("journal"));
    let copied =
        ledger::restore_with(&args.backup, &args.place, args.keys.lost(), &mut |bytes| bar.at(bytes))
            .map_err(|fault| not_copied(&fault))?;
    bar.end();
    tell(&copied, args.json)
}

fn tell(copied: &Copied, json: bool) -> Result<(), Failure> {
    if json {
        output::json(&serde_json::to_value(copied).map_err(|_| Failure::Failed)?);
    } else {
        output::say(format_args!(
            "OK · ligne/line {} · {} segments, {} octets/bytes · copié/copied: {} segments, {} octets/bytes · {}",
            copied.seq,
            copied.segments,
            copied.bytes,
            copied.new_segments,
            copied.new_bytes,
            copied.hash.as_deref().unwrap_or("-"),
        ));
    }
    Ok(())
}

fn export(args: ExportArgs) -> Result<(), Failure> {
    let folder = args.place.folder()?;
    let written = match &args.output {
        None => write_to(&folder, args.order, &mut io::stdout().lock()),
        Some(path) => export_file(&folder, args.order, path)?,
    };
    match written {
        Ok(0) if args.order.is_some() => {
            output::complain(
                &"Cette commande n'est pas dans le journal. / This order is not in the journal.",
            );
            Err(Failure::Failed)
        }
        Ok(_) => Ok(()),
        // A reader that went away (`| head`) is no fault of ours.
        Err(fault) if is_closed_pipe(&fault) => Ok(()),
        Err(fault) => Err(refused(&fault)),
    }
}

/// The file appears as a whole or not at all, and never in place of another.
fn export_file(
    folder: &Path,
    order: Option<OrderId>,
    path: &Path,
) -> Result<Result<u64, OpenError>, Failure> {
    let mut aside = Aside::open(path)?;
    let written = write_to(folder, order, aside.file());
    if matches!(written, Ok(count) if count > 0 || order.is_none()) {
        aside.keep()?;
    } else {
        aside.discard();
    }
    Ok(written)
}

fn write_to(folder: &Path, order: Option<OrderId>, out: &mut dyn Write) -> Result<u64, OpenError> {
    let mut out = BufWriter::new(out);
    let count = ledger::export(folder, order, &mut |commit| {
        serde_json::to_writer(&mut out, commit)?;
        out.write_all(b"\n")
    })?;
    out.flush().map_err(|source| OpenError::Folder { path: PathBuf::from("stdout"), source })?;
    Ok(count)
}

fn is_closed_pipe(fault: &OpenError) -> bool {
    use crate::ledger::JournalError;
    match fault {
        OpenError::Folder { source, .. } | OpenError::Journal(JournalError::Io { source, .. }) => {
            source.kind() == io::ErrorKind::BrokenPipe
        }
        _ => false,
    }
}
