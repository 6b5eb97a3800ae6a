//! `config check` and `config defaults`.

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Source, output, refuse};
use crate::config::{self, Config, Environment, Route};

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Vérifie tous les réglages et le catalogue, sans rien ouvrir · Checks every setting and the catalogue
    #[command(after_help = "Exemples / Examples:
  auditshield config check --env-file .env.prod
  auditshield config check --config /etc/auditshield/auditshield.toml --json")]
    Check(CheckArgs),
    /// Affiche tous les réglages et leurs valeurs par défaut · Prints every setting with its default
    Defaults,
}

#[derive(clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    source: Source,
    /// Résultat en JSON · Result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: ConfigCommand) -> Result<(), Failure> {
    let args = match command {
        ConfigCommand::Check(args) => args,
        ConfigCommand::Defaults => {
            output::say(config::DEFAULTS.trim_end());
            return Ok(());
        }
    };
    match config::load(&args.source.given()) {
        Ok(config) => {
            for warning in &config.warnings {
                output::complain(warning);
            }
            let summary = summary(&config);
            if args.json {
                output::json(&summary);
            } else {
                output::say("OK · configuration valide / the configuration is valid");
                for (key, value) in summary.as_object().into_iter().flatten() {
                    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                    output::say(format_args!("  {key:<14} {text}"));
                }
            }
            Ok(())
        }
        Err(problems) => {
            if args.json {
                let list: Vec<_> = problems
                    .0
                    .iter()
                    .map(|problem| json!({"name": problem.name, "fr": problem.french, "en": problem.english}))
                    .collect();
                output::json(&json!({"valid": false, "problems": list}));
            }
            Err(refuse(&problems))
        }
    }
}

/// What may be shown: no secret, no mail login.
fn summary(config: &Config) -> serde_json::Value {
    let env = match config.cinetpay.env {
        Environment::Sandbox => "sandbox",
        Environment::Production => "production",
    };
    let mail = match &config.mail.route {
        Route::Smtp(server) => format!("{}:{} ({:?})", server.host, server.port, server.tls),
        Route::File(folder) => format!("file:{}", folder.display()),
    };
    json!({
        "valid": true,
        "cinetpay_env": env,
        "api_url": config.cinetpay.api_url.as_str(),
        "notify_url": config.cinetpay.notify_url.as_str(),
        "return_url": config.cinetpay.return_url.as_str(),
        "public_url": config.server.public_url.as_str(),
        "listen": config.server.listen.to_string(),
        "admin_listen": config.admin.listen.to_string(),
        "store": config.store.to_string(),
        "catalog": format!("{} ({})", config.catalog.path.display(), config.catalog.catalog.products.len()),
        "mail": mail,
    })
}
