//! `privacy export | erase`: what is stored about a person's address, over the daemon's admin API.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::aside::Aside;
use super::orders::complain;
use super::{Failure, Source, THREADS_MAX, output, refuse, runtime};
use crate::adapters::admin_api::AdminApi;
use crate::config;

/// Longest line that is read from a terminal or a pipe, in bytes.
const LINE_BYTES_MAX: u64 = 1024;

#[derive(clap::Args)]
#[command(after_help = "Exemples / Examples:
  auditshield privacy export awa@example.ci --output awa.jsonl
  auditshield privacy erase awa@example.ci
  echo awa@example.ci | auditshield privacy erase - --yes

Voir docs/privacy.md / See docs/privacy.md")]
pub(super) struct PrivacyArgs {
    #[command(subcommand)]
    command: PrivacyCommand,
    #[command(flatten)]
    source: Source,
    /// Réponse en JSON · Answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum PrivacyCommand {
    /// Écrit tout ce qui est conservé sur une adresse, en JSON Lines · Writes all that is stored about an address
    Export(ExportArgs),
    /// Efface les données personnelles d'une adresse, pour toujours · Erases an address's personal data, for good
    #[command(
        after_help = "Montants, statuts et numéros restent ; le journal reste vérifiable. Une commande à livrer est
gardée, sauf --force. Code 1 si des commandes sont gardées.
Amounts, statuses and numbers stay; the journal stays verifiable. An order that is still to be delivered is kept,
unless --force. Exit code 1 if orders are kept."
    )]
    Erase(EraseArgs),
}

#[derive(clap::Args)]
struct ExportArgs {
    /// L'adresse ; - pour la lire sur l'entrée standard · The address; - to read it from standard input
    address: String,
    /// Fichier à créer [défaut : sortie standard] · File to make [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(clap::Args)]
struct EraseArgs {
    /// L'adresse ; - pour la lire sur l'entrée standard · The address; - to read it from standard input
    address: String,
    /// Ne pose pas la question · Does not ask
    #[arg(long)]
    yes: bool,
    /// Même si une livraison est due ou l'adresse ancienne · Even if a delivery is owed or the address is a former one
    #[arg(long)]
    force: bool,
    /// Votre nom dans le journal · Your name in the journal
    #[arg(long, default_value = "admin")]
    by: String,
}

pub(super) fn run(args: &PrivacyArgs) -> Result<(), Failure> {
    let admin = config::load_admin(&args.source.clone().given()).map_err(|problems| refuse(&problems))?;
    let api = AdminApi::new(&admin).map_err(|fault| complain(&fault))?;
    match &args.command {
        PrivacyCommand::Export(export) => write(&api, export),
        PrivacyCommand::Erase(erased) => erase(&api, erased, args.json),
    }
}

fn ask(api: &AdminApi, verb: &str, wish: &Value) -> Result<Value, Failure> {
    runtime(THREADS_MAX)?.block_on(api.privacy(verb, wish)).map_err(|fault| complain(&fault))
}

fn line() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::Read::take(io::stdin().lock(), LINE_BYTES_MAX).read_line(&mut text);
    read.map_err(|fault| {
        output::complain(&fault);
        Failure::Failed
    })?;
    Ok(text.trim().to_owned())
}

fn address(given: &str) -> Result<String, Failure> {
    if given == "-" { line() } else { Ok(given.to_owned()) }
}

fn write(api: &AdminApi, args: &ExportArgs) -> Result<(), Failure> {
    let answer = ask(api, "export", &json!({ "email": address(&args.address)? }))?;
    let orders = answer["orders"].as_array().cloned().unwrap_or_default();
    let text: String = orders.iter().map(|order| format!("{order}\n")).collect();
    if orders.is_empty() {
        output::complain(&"Rien n'est conservé sur cette adresse. / Nothing is stored about this address.");
    }
    match &args.output {
        None => match io::stdout().lock().write_all(text.as_bytes()) {
            Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe => {
                output::complain(&fault);
                Err(Failure::Failed)
            }
            Ok(()) | Err(_) => Ok(()),
        },
        Some(path) => {
            let mut aside = Aside::open(path)?;
            match aside.file().write_all(text.as_bytes()) {
                Ok(()) => aside.keep(),
                Err(fault) => {
                    output::complain(&fault);
                    aside.discard();
                    Err(Failure::Failed)
                }
            }
        }
    }
}

fn erase(api: &AdminApi, args: &EraseArgs, as_json: bool) -> Result<(), Failure> {
    let address = address(&args.address)?;
    let mut wish = json!({ "email": address, "by": args.by });
    if args.force {
        wish["force"] = "yes".into();
    }
    let plan = ask(api, "erase", &wish)?;
    let nothing = plan["erasable"] == 0;
    if nothing || !args.yes {
        show(&plan, as_json && nothing);
    }
    if nothing {
        return ended(&plan);
    }
    if !args.yes && !agreed()? {
        output::complain(&"Rien n'est effacé. / Nothing was erased.");
        return Err(Failure::Failed);
    }
    wish["confirm"] = address.into();
    let done = ask(api, "erase", &wish)?;
    show(&done, as_json);
    ended(&done)
}

/// Whether the person at the terminal says so. A pipe cannot.
fn agreed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        output::complain(&"Sans terminal, confirmez par --yes. / Without a terminal, confirm with --yes.");
        return Ok(false);
    }
    output::complain(
        &"Cela ne s'annule pas : plus d'e-mail, de lien ni de nom sur le reçu. Tapez EFFACER pour continuer :\n\
          This cannot be undone: no mail, link or name on the receipt any more. Type ERASE to go on:",
    );
    Ok(matches!(line()?.as_str(), "EFFACER" | "ERASE"))
}

fn show(answer: &Value, as_json: bool) {
    if as_json {
        return output::json(answer);
    }
    let mut table = output::table(&["order_id", "status", "product", "", "perd/loses"]);
    for order in answer["orders"].as_array().into_iter().flatten() {
        let text = |key: &str| output::plain(order[key].as_str().unwrap_or_default());
        let outcome = match order["outcome"].as_str() {
            Some("erased") => "effacée/erased".to_owned(),
            Some("kept") => format!("gardée/kept: {}", text("reason")),
            _ => "à effacer/to erase".to_owned(),
        };
        let loses: Vec<&str> =
            order["loses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        table.add_row([text("order_id"), text("status"), text("product"), outcome, loses.join(", ")]);
    }
    if table.row_count() == 0 {
        output::say("Rien n'est conservé sur cette adresse. / Nothing is stored about this address.");
    } else {
        output::say(table);
    }
}

fn ended(answer: &Value) -> Result<(), Failure> {
    if answer["kept"] == 0 { Ok(()) } else { Err(Failure::Failed) }
}
