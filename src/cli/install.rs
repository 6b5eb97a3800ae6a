//! `install` and `uninstall`: thin, the work is in `install`.

use std::path::PathBuf;

use super::{Failure, output};
use crate::install::{self, Account, Crontab, Wanted};

#[derive(clap::Args)]
#[command(after_help = "Exemples / Examples:
  auditshield install --user                           dans ~/auditshield, avec cron / with cron
  auditshield install --user --public-url https://pay.example.ci --port 8200
  auditshield install --user --no-cron                 affiche les lignes de cron / shows cron's lines")]
pub(super) struct InstallArgs {
    #[command(flatten)]
    place: Place,
    /// Adresse publique, https://… · Public address
    #[arg(long, value_name = "URL")]
    public_url: Option<url::Url>,
    /// Port local ; l'administration prend le suivant [défaut : le premier couple libre dès 8000] · Local port; the
    /// administration takes the next [default: the first free pair from 8000]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..=65534))]
    port: Option<u16>,
    /// Ne touche pas à la crontab, affiche les lignes · Leaves the crontab alone, shows the lines
    #[arg(long)]
    no_cron: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Exemple / Example:
  auditshield uninstall --user        arrête, retire de cron / stops, takes out of cron")]
pub(super) struct UninstallArgs {
    #[command(flatten)]
    place: Place,
}

/// Whose account, and where in it.
#[derive(clap::Args)]
struct Place {
    /// Dans le compte de qui lance la commande (le seul mode) · For the account that runs this (the only mode)
    #[arg(long, required = true)]
    user: bool,
    /// Dossier [défaut : ~/auditshield] · Folder [default: ~/auditshield]
    #[arg(long, value_name = "FOLDER")]
    prefix: Option<PathBuf>,
}

impl Place {
    fn account(&self) -> Result<Account, Failure> {
        let home = || std::env::home_dir().map(|home| home.join("auditshield"));
        let prefix = self.prefix.clone().or_else(home).ok_or_else(|| {
            output::complain(&"HOME: absent — donnez --prefix / not set — give --prefix");
            Failure::Failed
        })?;
        Account::at(&prefix).map_err(failed)
    }
}

pub(super) fn install(args: &InstallArgs) -> Result<(), Failure> {
    let wanted = Wanted {
        public_url: args.public_url.as_ref().map(ToString::to_string),
        port: args.port,
        crontab: if args.no_cron { Crontab::Shown } else { Crontab::Written },
    };
    install::install(&args.place.account()?, &wanted, &mut |line| output::say(line)).map_err(failed)
}

pub(super) fn uninstall(args: &UninstallArgs) -> Result<(), Failure> {
    install::uninstall(&args.place.account()?, &mut |line| output::say(line)).map_err(failed)
}

fn failed(fault: install::Error) -> Failure {
    output::complain(&fault);
    Failure::Failed
}
