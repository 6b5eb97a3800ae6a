//! The command line: one file per command. Here: the arguments, the dispatch, the exit codes.

mod aside;
mod check;
mod daemon;
mod dev;
mod doctor;
mod install;
mod ledger;
mod manual;
mod migrate;
mod orders;
mod output;
mod papers;
mod privacy;
mod progress;
mod simulator;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, Parser, Subcommand};

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
    /// Service d'essai derrière un tunnel ngrok · A sandbox daemon behind an ngrok tunnel
    Dev(dev::DevArgs),
    /// Boutique, service, simulateur et boîte aux lettres en un seul processus · Everything in one process, offline
    Demo(daemon::DemoArgs),
    /// Examine l'installation : réglages, adresses, CinetPay, courriel, disque · Examines the installation
    Doctor(doctor::DoctorArgs),
    /// CinetPay hors ligne · The offline CinetPay
    Simulator(simulator::SimulatorArgs),
    /// Commandes : voir et agir, par l'interface d'administration · Orders, over the admin API
    Orders(orders::OrdersArgs),
    /// Données personnelles d'une adresse : les lire, les effacer · An address's personal data: read, erase
    Privacy(privacy::PrivacyArgs),
    /// Le registre · The ledger
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Les réglages · The configuration
    #[command(subcommand)]
    Config(check::ConfigCommand),
    /// Installe dans un compte sans root (cPanel) · Installs into an account without root
    Install(install::InstallArgs),
    /// Retire ce que `install` a posé ; le registre et les réglages restent · Takes it out again; ledger and settings stay
    Uninstall(install::UninstallArgs),
    /// Pages du manuel et complétions, pour un paquet · Manual pages and completions, for a package
    #[command(hide = true)]
    Manual(manual::ManualArgs),
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
    /// Arguments that do not go together.
    #[cfg(feature = "postgres")]
    Usage = 2,
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
            #[cfg(feature = "postgres")]
            Failure::Usage => Self::from(2),
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
        Command::Dev(args) => dev::run(args),
        Command::Demo(args) => daemon::demo(&args),
        Command::Doctor(args) => doctor::run(args),
        Command::Simulator(args) => simulator::run(args),
        Command::Orders(args) => orders::run(args),
        Command::Privacy(args) => privacy::run(&args),
        Command::Ledger(command) => ledger::run(command),
        Command::Config(command) => check::run(command),
        Command::Install(args) => install::install(&args),
        Command::Uninstall(args) => install::uninstall(&args),
        Command::Manual(args) => manual::run(&args, Cli::command()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.into(),
    }
}

/// Threads that no setting moves: the main one, the journal's writer, the indexer, and seven that sled keeps.
const THREADS_FIXED: usize = 10;
/// What commands other than `serve` may have; the setting's default.
pub(super) const THREADS_MAX: usize = 16;

/// Threads for requests and for what blocks, so that the whole process has at most `threads_max`.
fn pools(threads_max: usize, cores: usize) -> (usize, usize) {
    const BLOCKING_MAX: usize = 8;
    let shared = threads_max.saturating_sub(THREADS_FIXED).max(4);
    let blocking = (shared - 2).min(shared * 2 / 3).min(BLOCKING_MAX);
    (cores.max(2).min(shared - blocking), blocking)
}

/// A runtime that leaves the process with at most `threads_max` threads, the ledger's included.
pub(super) fn runtime(threads_max: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (workers, blocking) = pools(threads_max, cores);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(blocking)
        .enable_all()
        .build()
        .map_err(|fault| {
            output::complain(&fault);
            Failure::Unavailable
        })
}
