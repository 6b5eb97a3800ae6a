//! The command line: one file per command. Here: the arguments, the dispatch, the exit codes.

mod aside;
mod check;
mod daemon;
mod doctor;
mod ledger;
mod orders;
mod output;
mod papers;
mod progress;
mod simulator;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};

use crate::config::{Given, Problems};

/// Colours of the help, on a terminal only.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Exemples / Examples:
  auditshield demo                                  essayer, sans réseau ni réglage / try it out
  auditshield config check --env-file .env.prod     vérifier les réglages / check the settings
  auditshield serve --env-file .env.prod            lancer le service / run the daemon
  auditshield orders list --status REVIEW           commandes à examiner / orders to look at

Codes de sortie / Exit codes: 0, 1 échec/failure, 2 usage, 69 indisponible/unavailable, 78 configuration";

/// Vend des fichiers par CinetPay et ne croit que les paiements vérifiés.
///
/// Sells digital files through CinetPay and believes only verified payments.
#[derive(Parser)]
#[command(name = "auditshield", version, styles = STYLES, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lance le service · Runs the daemon
    Serve(Source),
    /// Boutique, service, simulateur et boîte aux lettres en un seul processus · Everything in one process, offline
    Demo(daemon::DemoArgs),
    /// Examine l'installation : réglages, adresses, CinetPay, courriel, disque · Examines the installation
    Doctor(doctor::DoctorArgs),
    /// CinetPay hors ligne · The offline CinetPay
    Simulator(simulator::SimulatorArgs),
    /// Commandes : voir et agir, par l'interface d'administration · Orders, over the admin API
    Orders(orders::OrdersArgs),
    /// Le registre · The ledger
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Les réglages · The configuration
    #[command(subcommand)]
    Config(check::ConfigCommand),
}

/// Where the settings come from.
#[derive(clap::Args, Clone)]
pub(super) struct Source {
    /// Fichier TOML · TOML file [default: config/auditshield.toml if it exists]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Fichier dotenv, l'emporte sur l'environnement · dotenv file, wins over the environment
    #[arg(long, value_name = "FILE", global = true)]
    env_file: Option<PathBuf>,
}

impl Source {
    fn given(self) -> Given {
        Given::from_process(self.config, self.env_file)
    }
}

/// How a command ended badly. Its number is the exit code (sysexits.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Anything that went wrong.
    Failed = 1,
    /// What was given cannot be read (EX_DATAERR).
    Data = 65,
    /// Something needed is not to be had: a port, the store, the daemon (EX_UNAVAILABLE).
    Unavailable = 69,
    /// A setting is missing or wrong (EX_CONFIG).
    Config = 78,
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Failed => Self::from(1),
            Failure::Data => Self::from(65),
            Failure::Unavailable => Self::from(69),
            Failure::Config => Self::from(78),
        }
    }
}

/// Every problem on a line of its own, then exit code 78.
pub(super) fn refuse(problems: &Problems) -> Failure {
    output::complain(problems);
    Failure::Config
}

/// Reads the arguments, runs the command, tells how it went. Wrong usage ends the process with 2.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(source) => daemon::serve(source),
        Command::Demo(args) => daemon::demo(&args),
        Command::Doctor(args) => doctor::run(args),
        Command::Simulator(args) => simulator::run(args),
        Command::Orders(args) => orders::run(args),
        Command::Ledger(command) => ledger::run(command),
        Command::Config(command) => check::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.into(),
    }
}

/// A runtime with few threads: shared hosts allow a hundred, and the ledger needs some too.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    const WORKERS_MAX: usize = 8;
    const BLOCKING_MAX: usize = 8;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, WORKERS_MAX))
        .max_blocking_threads(BLOCKING_MAX)
        .enable_all()
        .build()
        .map_err(|fault| {
            output::complain(&fault);
            Failure::Unavailable
        })
}
