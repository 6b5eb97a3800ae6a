//! Puts the program into a user's account and takes it out again, without root: for shared hosts such as cPanel.
//!
//! Invariant: what the merchant wrote and what buyers paid for is never overwritten and never removed. A second `install` is
//! an upgrade: it replaces the program and what came with it, and leaves settings, catalogue and ledger alone.

mod account;
mod cron;
mod daemon;
mod settings;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use account::Account;

/// Tells the person who installs what was done.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// What the person who installs asked for.
pub struct Wanted {
    /// How the world reaches the shop.
    pub public_url: Option<String>,
    /// The public listener's port on loopback; none takes the first free pair.
    pub port: Option<u16>,
    /// Who writes the crontab.
    pub crontab: Crontab,
}

/// Who writes the crontab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crontab {
    /// We do.
    Written,
    /// The lines are shown; the host's panel has a page for them.
    Shown,
}

/// Why it did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot stand in a crontab or in a shell's line.
    #[error(
        "{0} : le dossier doit être absolu, sans espace, « % », guillemet ni caractère de commande — choisissez-en un autre \
         avec --prefix / the folder must be absolute, without spaces, percent signs, quotes or shell characters — choose \
         another with --prefix"
    )]
    Folder(PathBuf),
    /// A file or folder is in the way.
    #[error("{0} : {1}")]
    File(PathBuf, std::io::Error),
    /// `crontab` failed.
    #[error(
        "crontab : {0} — relancez avec --no-cron et collez les lignes dans « Tâches cron » / run it again with --no-cron and \
         paste the lines into your panel's cron page"
    )]
    Crontab(String),
    /// No two ports side by side are free.
    #[error("aucun port local libre — donnez --port / no free local port — give --port")]
    NoPort,
    /// The running daemon does not end.
    #[error(
        "le service (processus {0}) ne s'arrête pas — voyez {1}/log / the daemon does not end — see its log"
    )]
    Runs(String, PathBuf),
}

/// Installs, or upgrades what is there.
///
/// # Errors
/// See [`Error`]. What was done until then stays; the same command goes on from there.
pub fn install(account: &Account, wanted: &Wanted, say: Say<'_>) -> Result<(), Error> {
    account.make_folders()?;
    let fresh = settings::write(account, wanted, say)?;
    let ran = daemon::stop(account)?;
    account.put_programs()?;
    say(&format!("programme / program      {}", account.path("auditshield").display()));
    if ran {
        daemon::start(account)?;
        say("service relancé / daemon started again");
    }
    let lines = cron::lines(account);
    match wanted.crontab {
        Crontab::Written => {
            cron::edit(|table| cron::with(table, account))?;
            say(
                "crontab                  au démarrage et toutes les cinq minutes / at boot and every five minutes",
            );
        }
        Crontab::Shown => say("à coller dans « Tâches cron » / to paste into your panel's cron page:"),
    }
    lines.lines().for_each(|line| say(&format!("    {line}")));
    if fresh {
        next_steps(account, say);
    }
    Ok(())
}

fn next_steps(account: &Account, say: Say<'_>) {
    let prefix = account.prefix().display();
    say("Ensuite / then:");
    say(&format!(
        "  1. nano {prefix}/.env                  clés CinetPay, domaine, courriel / keys, domain, mail"
    ));
    say(&format!("  2. nano {prefix}/catalog.toml          vos produits / your products"));
    say(&format!("  3. cp {prefix}/web/.htaccess {prefix}/web/notify.php ~/public_html/pay/"));
    say(&format!(
        "  4. {prefix}/keep-alive                 lancer, sans attendre cron / start, without waiting for cron"
    ));
    say(&format!(
        "  5. cd {prefix} && ./auditshield doctor --config auditshield.toml --env-file .env --go-live --backup backup"
    ));
}

/// Stops the daemon, takes it out of cron and removes the program. Ledger, settings and catalogue stay.
///
/// # Errors
/// See [`Error`].
pub fn uninstall(account: &Account, say: Say<'_>) -> Result<(), Error> {
    // Cron first: it would start the daemon again.
    match cron::edit(|table| cron::without(table, account)) {
        Ok(()) => say("crontab                  lignes retirées / lines removed"),
        // A host without the command: its lines are in the panel, and everything else can still be taken out.
        Err(fault @ Error::Crontab(_)) => say(&fault.to_string()),
        Err(fault) => return Err(fault),
    }
    if daemon::stop(account)? {
        say("service arrêté / daemon stopped");
    }
    account.remove_programs()?;
    say(&format!(
        "conservés / kept         {}: store, spool, backup, .env, auditshield.toml, catalog.toml, files",
        account.prefix().display()
    ));
    Ok(())
}
