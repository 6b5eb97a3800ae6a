//! `serve` and `demo`: thin, the work is in `app`.

use super::{Failure, Source, THREADS_MAX, output, refuse, runtime};
use crate::app;
use crate::config::{self, Config, Given, LogFormat};
use crate::telemetry;

#[derive(clap::Args)]
#[command(after_help = "Exemples / Examples:
  auditshield demo                 ouvrir l'adresse affichée / open the printed address
  auditshield demo --set AUDITSHIELD_DOWNLOAD__TTL=10s   des liens qui expirent vite / links that expire soon
  auditshield demo --nodes 3       trois services, une base PostgreSQL / three daemons, one PostgreSQL database
  auditshield demo --once          tout le parcours, sans navigateur / the whole journey, no browser")]
pub(super) struct DemoArgs {
    /// Achète, paie, reçoit, télécharge et vérifie une fois, puis s'arrête · One purchase, then ends
    #[arg(long)]
    once: bool,
    /// Port de la boutique [défaut : un port libre] · The shop's port [default: a free one]
    #[arg(long)]
    port: Option<u16>,
    /// Autre réglage que ceux de la démonstration · A setting other than the demonstration's
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Autant de services sur une base PostgreSQL, derrière un répartiteur · So many daemons on one PostgreSQL database
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("AUDITSHIELD_DOWNLOAD__TTL=10s")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn serve(source: Source) -> Result<(), Failure> {
    let given = source.given();
    let config = config::load(&given).map_err(|problems| refuse(&problems))?;
    run_daemon(config, given)
}

/// Runs the daemon until it is told to stop. `given` is where `config` came from.
pub(super) fn run_daemon(config: Config, given: Given) -> Result<(), Failure> {
    telemetry::logs(&config.log.level, config.log.format);
    telemetry::panics(crate::ledger::LETTING_GO);
    for warning in &config.warnings {
        tracing::warn!(variable = %warning.name, "{}", warning.english);
    }
    let inherited = done(app::inherited(&given))?;
    let runtime = runtime(config.server.threads_max)?;
    let ended = runtime.block_on(Box::pin(app::serve(config, given, inherited)));
    telemetry::flush();
    done(ended)
}

pub(super) fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let level = std::env::var("AUDITSHIELD_LOG").unwrap_or_else(|_| "warn".to_owned());
    telemetry::logs(&level, LogFormat::Auto);
    let options = app::DemoOptions {
        once: args.once,
        port: args.port,
        set: args.set.clone(),
        nodes: args.nodes.into(),
    };
    done(runtime(THREADS_MAX)?.block_on(Box::pin(app::demo(options, &mut |line| output::say(line)))))
}

fn done<T>(result: Result<T, app::Error>) -> Result<T, Failure> {
    result.map_err(|fault| {
        output::complain(&fault);
        match fault {
            _ if fault.is_configuration() => Failure::Config,
            _ if fault.is_unavailable() => Failure::Unavailable,
            _ => Failure::Failed,
        }
    })
}
