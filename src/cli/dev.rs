//! `dev`: the daemon behind a tunnel, for trials with a CinetPay account in the sandbox.

use url::Url;

use super::daemon::run_daemon;
use super::{Failure, Source, THREADS_MAX, output, refuse, runtime};
use crate::adapters::ngrok;
use crate::config::{self, Config, Environment, Given, name_of};

#[derive(clap::Args)]
#[command(after_help = "Exemples / Examples:
  ngrok http 8000                                          dans un autre terminal / in another terminal
  auditshield dev --env-file .env
  auditshield dev --env-file .env --public-url https://essai.example.ci

L'adresse du tunnel l'emporte sur public_url, CINETPAY_RETURN_URL et CINETPAY_NOTIFY_URL.
The tunnel's address wins over public_url, CINETPAY_RETURN_URL and CINETPAY_NOTIFY_URL.")]
pub(super) struct DevArgs {
    #[command(flatten)]
    source: Source,
    /// Adresse publique d'un autre tunnel · Public address of another tunnel
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
    /// API locale de l'agent ngrok · The ngrok agent's local API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4040")]
    ngrok: Url,
}

pub(super) fn run(args: DevArgs) -> Result<(), Failure> {
    let mut given = args.source.given();
    let config = load(&given)?;
    if config.cinetpay.env == Environment::Production {
        output::complain(
            &"CINETPAY_ENV: « production » ne s'essaie pas derrière un tunnel — écrivez sandbox / production is not tried \
              behind a tunnel — write sandbox",
        );
        return Err(Failure::Config);
    }
    let url = match args.public_url {
        Some(url) => url,
        None => {
            let Some(address) = config.server.listen.address() else {
                output::complain(
                    &"AUDITSHIELD_SERVER__LISTEN: l'agent ngrok mène à un port, pas à une socket — écrivez 127.0.0.1:8000, ou \
                      donnez --public-url / the ngrok agent leads to a port and not to a socket — write 127.0.0.1:8000, or \
                      give --public-url",
                );
                return Err(Failure::Config);
            };
            tunnel(&args.ngrok, address.port())?
        }
    };
    decide(&mut given, &url).map_err(|fault| {
        output::complain(&format_args!("--public-url: {fault}"));
        Failure::Config
    })?;
    let config = load(&given)?;
    declare(&config);
    run_daemon(config, given)
}

fn load(given: &Given) -> Result<Config, Failure> {
    config::load(given).map_err(|problems| refuse(&problems))
}

fn tunnel(agent: &Url, port: u16) -> Result<Url, Failure> {
    runtime(THREADS_MAX)?.block_on(ngrok::public_url(agent, port)).map_err(|fault| {
        output::complain(&fault);
        Failure::Unavailable
    })
}

/// What follows from the public address, over whatever the settings say.
fn decide(given: &mut Given, url: &Url) -> Result<(), url::ParseError> {
    let mut base = url.clone();
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", url.path()));
    }
    for (key, value) in [
        ("server.public_url", base.to_string()),
        ("cinetpay.return_url", base.join("payment/return/")?.to_string()),
        ("cinetpay.notify_url", base.join("payment/callback/")?.to_string()),
        // The agent runs on this machine and says whom it speaks for.
        ("server.trusted_proxies", "127.0.0.1,::1".to_owned()),
    ] {
        given.decided.insert(name_of(key), value);
    }
    Ok(())
}

fn declare(config: &Config) {
    output::say("À déclarer dans le back-office CinetPay / to declare in CinetPay's back office:");
    output::say(format_args!("  URL de notification / notify URL   {}", config.cinetpay.notify_url));
    output::say(format_args!("  URL de retour / return URL         {}", config.cinetpay.return_url));
    output::say(format_args!("Boutique / shop                      {}", config.server.public_url));
    output::say(format_args!("Administration                       {}/admin/", config.admin.listen.origin()));
    output::say("L'adresse change à chaque lancement d'un agent gratuit : déclarez-la de nouveau.");
    output::say("A free agent's address changes with each of its starts: declare it again.");
}
