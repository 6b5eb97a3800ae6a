//! `orders export | settle | dossier | proof`: what the merchant carries away, as on the admin pages.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::Value;

use super::aside::Aside;
use super::orders::{complain, order_id};
use super::{Failure, THREADS_MAX, output, runtime};
use crate::adapters::admin_api::{AdminApi, ApiError};
use crate::domain::settlement::{Finding, Kind, Report};
use crate::domain::values::{Lang, OrderId};
use crate::domain::words;

/// Largest export of CinetPay's that is read, in bytes; the daemon has the same limit.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[derive(Subcommand)]
pub(super) enum PapersCommand {
    /// Exporte les commandes d'une période · Exports the orders of a period
    #[command(
        after_help = "Contient les données personnelles des acheteurs : à protéger et à effacer après usage.
Holds the buyers' personal data: protect it, and delete it after use.

Exemples / Examples:
  auditshield orders export --from 2026-11-01 --to 2026-11-30 --output novembre.csv
  auditshield orders export --from 2026-11-01 --to 2026-11-30 --by created_at --format jsonl | jq .status"
    )]
    Export(ExportArgs),
    /// Compare un relevé CSV de CinetPay avec nos ventes · Compares a CSV export of CinetPay's with our sales
    #[command(after_help = "Code 0 si tout concorde, 1 s'il y a des écarts, 65 si le fichier est illisible.
Exit code 0 if everything agrees, 1 if there are differences, 65 if the file is unreadable.

Exemples / Examples:
  auditshield orders settle releve.csv
  auditshield orders settle releve.csv --from 2026-11-01 --to 2026-11-30 --json")]
    Settle(SettleArgs),
    /// « Client débité mais échec » : le message pour CinetPay · The letter to CinetPay's merchant support
    Dossier(DossierArgs),
    /// Preuve de vente signée · Signed proof of sale
    #[command(
        after_help = "Se vérifie avec docs/verify_proof.py ou OpenSSL. / Verified with docs/verify_proof.py or OpenSSL.

Exemples / Examples:
  auditshield orders proof 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --output preuve.json
  auditshield orders proof 01KA3M5W6K8Y2Q4Z7X9B1C3D5E --format pdf --output preuve.pdf
  auditshield orders proof --public-key > boutique.pem"
    )]
    Proof(ProofArgs),
}

#[derive(clap::Args)]
pub(super) struct ExportArgs {
    /// Premier jour · First day
    #[arg(long, value_name = "2026-11-01", value_parser = day)]
    from: String,
    /// Dernier jour, compris · Last day, included
    #[arg(long, value_name = "2026-11-30", value_parser = day)]
    to: String,
    /// La date qui compte · The date that counts
    #[arg(long, default_value = "paid_at", value_parser = ["paid_at", "created_at"])]
    by: String,
    /// Tableur ou programme · Spreadsheet or program
    #[arg(long, default_value = "csv", value_parser = ["csv", "jsonl"])]
    format: String,
    /// Langue des titres · Language of the headings
    #[arg(long, default_value = "fr", value_parser = ["fr", "en"])]
    lang: String,
    /// Fichier à créer [défaut : sortie standard] · File to make [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(super) struct SettleArgs {
    /// Le relevé ; - pour l'entrée standard · The export; - for standard input
    file: PathBuf,
    /// Premier jour [défaut : la première date du relevé] · First day [default: the export's first date]
    #[arg(long, value_name = "2026-11-01", value_parser = day, requires = "to")]
    from: Option<String>,
    /// Dernier jour, compris · Last day, included
    #[arg(long, value_name = "2026-11-30", value_parser = day, requires = "from")]
    to: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct DossierArgs {
    /// Numéro de commande · Order id
    #[arg(value_parser = order_id)]
    id: OrderId,
}

#[derive(clap::Args)]
pub(super) struct ProofArgs {
    /// Numéro de commande · Order id
    #[arg(value_parser = order_id, required_unless_present = "public_key")]
    id: Option<OrderId>,
    /// Les clés publiques à la place, PEM · The public keys instead, PEM
    #[arg(long, conflicts_with_all = ["id", "format"])]
    public_key: bool,
    /// Le fichier signé, ou des pages auxquelles il est joint · The signed file, or pages with it attached
    #[arg(long, default_value = "json", value_parser = ["json", "pdf"])]
    format: String,
    /// Langue des pages · Language of the pages
    #[arg(long, default_value = "fr", value_parser = ["fr", "en"])]
    lang: String,
    /// Fichier à créer [défaut : sortie standard] · File to make [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn day(text: &str) -> Result<String, String> {
    let read = text.parse::<crate::domain::calendar::Day>();
    read.map(|day| day.to_string()).map_err(|_| "2026-11-30".to_owned())
}

pub(super) fn run(api: &AdminApi, command: &PapersCommand, json: bool) -> Result<(), Failure> {
    match command {
        PapersCommand::Export(args) => {
            let query =
                [("from", args.from.as_str()), ("to", &args.to), ("by", &args.by), ("lang", &args.lang)];
            written(args.output.as_deref(), |out| {
                runtime(THREADS_MAX).map(|runtime| runtime.block_on(api.export(&args.format, &query, out)))
            })
        }
        PapersCommand::Settle(args) => settle(api, args, json),
        PapersCommand::Dossier(args) => {
            let letter =
                runtime(THREADS_MAX)?.block_on(api.dossier(args.id)).map_err(|fault| complain(&fault))?;
            if json {
                output::json(&letter);
            } else {
                let text = |key: &str| letter[key].as_str().unwrap_or_default();
                output::say(format_args!(
                    "À : {}\nObjet : {}\n\n{}",
                    text("to"),
                    text("subject"),
                    text("body")
                ));
            }
            Ok(())
        }
        PapersCommand::Proof(args) => written(args.output.as_deref(), |out| {
            runtime(THREADS_MAX).map(|runtime| match args.id {
                Some(id) => runtime.block_on(api.proof(id, &args.format, &args.lang, out)),
                None => runtime.block_on(api.proof_keys(out)),
            })
        }),
    }
}

/// To a file that appears as a whole, or to standard output.
fn written(
    path: Option<&Path>,
    work: impl FnOnce(&mut dyn Write) -> Result<Result<(), ApiError>, Failure>,
) -> Result<(), Failure> {
    let Some(path) = path else {
        return match work(&mut io::stdout().lock())? {
            // A reader that went away (`| head`) is no fault of ours.
            Err(ApiError::Output(fault)) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|fault| complain(&fault)),
        };
    };
    let mut aside = Aside::open(path)?;
    let done = work(aside.file()).and_then(|done| done.map_err(|fault| complain(&fault)));
    match done {
        Ok(()) => aside.keep(),
        Err(failure) => {
            aside.discard();
            Err(failure)
        }
    }
}

fn settle(api: &AdminApi, args: &SettleArgs, json: bool) -> Result<(), Failure> {
    let file = read(&args.file).map_err(|fault| {
        output::complain(&format_args!("« {} » : {fault}", args.file.display()));
        Failure::Data
    })?;
    let given = [("from", args.from.as_deref()), ("to", args.to.as_deref())];
    let query: Vec<(&str, &str)> = given.into_iter().filter_map(|(key, day)| Some((key, day?))).collect();
    let answer = match runtime(THREADS_MAX)?.block_on(api.settle(file, &query)) {
        Ok(answer) => answer,
        Err(fault @ ApiError::Refused { status: 400 | 413, .. }) => {
            complain(&fault);
            return Err(Failure::Data);
        }
        Err(fault) => return Err(complain(&fault)),
    };
    if json {
        output::json(&answer);
    } else {
        print(&answer);
    }
    if answer["agrees"] == true { Ok(()) } else { Err(Failure::Failed) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    let too_large = u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX;
    if too_large { Err(io::Error::other("plus de 4 Mio / more than 4 MiB")) } else { Ok(bytes) }
}

fn print(answer: &Value) {
    let Ok(report) = serde_json::from_value::<Report>(answer.clone()) else {
        return output::json(answer);
    };
    output::say(format_args!(
        "{} · {} lignes/rows · {} d'accord/agreed · {} → {} ({})",
        if report.agrees { "OK" } else { "ÉCARTS/DIFFERENCES" },
        report.rows,
        report.agreed,
        report.from,
        report.to,
        report.zone
    ));
    for (currency, sums) in &report.sums {
        output::say(format_args!(
            "{currency} · nous/ours {} · CinetPay {} · d'accord/agreed {}",
            words::sum(sums.ours, *currency, Lang::Fr),
            words::sum(sums.theirs, *currency, Lang::Fr),
            words::sum(sums.agreed, *currency, Lang::Fr)
        ));
    }
    for kind in Kind::ALL {
        let Some(found) = report.findings.get(&kind).filter(|found| found.count > 0) else { continue };
        output::say(format_args!(
            "\n{} / {} : {}",
            kind.heading(Lang::Fr),
            kind.heading(Lang::En),
            found.count
        ));
        let mut table = output::table(&["transaction", "", "nous/ours", "CinetPay", "ligne/line"]);
        for one in &found.listed {
            table.add_row(row(one));
        }
        output::say(table);
    }
    for one in &report.unread {
        output::say(format_args!(
            "ligne/line {} illisible/unreadable · {} · {}",
            one.line,
            one.column,
            output::plain(&one.text)
        ));
    }
}

fn row(one: &Finding) -> [String; 5] {
    let figure = |text: &Option<String>| {
        text.as_deref().map(|text| words::figure(&output::plain(text), Lang::Fr)).unwrap_or_default()
    };
    let line = one.line.map(|line| line.to_string()).unwrap_or_default();
    let ours = format!("{} {}", figure(&one.ours), one.status.as_deref().unwrap_or_default());
    [output::plain(&one.transaction), one.reason.words(Lang::Fr).to_owned(), ours, figure(&one.theirs), line]
}
