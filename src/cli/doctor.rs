//! `doctor`: the go-live checklist, checked.

use std::path::PathBuf;

use serde_json::json;

use super::{Failure, Source, THREADS_MAX, output, runtime};
use crate::config;
use crate::doctor::{self, Finding, Patient, Severity};
use crate::domain::values::Email;
use crate::ports::Clock;

/// DKIM keys' usual names: cPanel, Google, Microsoft, Postfix tutorials, Brevo, OVH.
const DKIM_SELECTORS: [&str; 8] =
    ["default", "google", "selector1", "selector2", "mail", "dkim", "brevo", "ovhmo-selector-1"];
/// Where systemd/auditshield-backup.service copies to.
const BACKUP_DEFAULT: &str = "/var/backups/auditshield";
const LIMITS: &str = "/proc/self/limits";

#[derive(clap::Args)]
#[command(
    after_help = "Ne change rien : interroge CinetPay sur une transaction inexistante et s'envoie une notification d'essai signée.
Changes nothing: asks CinetPay about a transaction that does not exist, and sends itself a signed trial notification.

Code de sortie / Exit code: 0 bien/well, 1 échec/failure (avec/with --go-live : ou avertissement/or warning), 78 réglages/settings

Exemples / Examples:
  auditshield doctor --env-file .env.prod
  auditshield doctor --env-file .env.prod --go-live --test-mail vous@exemple.ci
  auditshield doctor --json | jq '.findings[] | select(.severity != \"good\")'"
)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    source: Source,
    /// Avant d'encaisser : un avertissement est un échec · Before going live: a warning is a failure
    #[arg(long)]
    go_live: bool,
    /// Résultat en JSON · Result as JSON
    #[arg(long)]
    json: bool,
    /// Envoie un courriel d'essai à cette adresse · Sends a trial mail to this address
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    test_mail: Option<Email>,
    /// Nom de la clé DKIM [défaut : les noms habituels] · The DKIM key's name [default: the usual ones]
    #[arg(long, value_name = "NAME")]
    dkim_selector: Option<String>,
    /// Dossier des copies du journal · Folder of the journal's copies
    #[arg(long, value_name = "FOLDER", default_value = BACKUP_DEFAULT)]
    backup: PathBuf,
}

fn address(text: &str) -> Result<Email, String> {
    Email::parse(text).map_err(|_| "nom@domaine / name@domain".to_owned())
}

pub(super) fn run(args: DoctorArgs) -> Result<(), Failure> {
    let given = args.source.given();
    let findings = match config::load(&given) {
        Err(problems) => doctor::unreadable(&problems),
        Ok(config) => {
            let selectors = args
                .dkim_selector
                .map_or_else(|| DKIM_SELECTORS.map(ToOwned::to_owned).to_vec(), |selector| vec![selector]);
            let patient = Patient {
                config,
                given,
                clock: Clock::system(),
                resolver: doctor::resolver(),
                backup: args.backup,
                limits: PathBuf::from(LIMITS),
                dkim_selectors: selectors,
                trial_to: args.test_mail,
                go_live: args.go_live,
            };
            runtime(THREADS_MAX)?.block_on(Box::pin(doctor::examine(&patient)))
        }
    };
    let worst = doctor::worst(&findings);
    if args.json {
        output::json(&json!({"worst": worst, "go_live": args.go_live, "findings": findings}));
    } else {
        print(&findings);
    }
    match worst {
        Severity::Configuration => Err(Failure::Config),
        Severity::Failure => Err(Failure::Failed),
        Severity::Warning if args.go_live => Err(Failure::Failed),
        Severity::Warning | Severity::Note | Severity::Good => Ok(()),
    }
}

/// French, then English below it; what is well in one line.
fn print(findings: &[Finding]) {
    for finding in findings {
        let (mark, check) = (mark(finding.severity), finding.check);
        output::say(format_args!("{mark} {check:<13} {}", output::plain(&finding.fr)));
        if finding.severity > Severity::Good {
            output::say(format_args!("  {:<13} {}", "", output::plain(&finding.en)));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    output::say(format_args!(
        "\n{} échecs/failures · {} avertissements/warnings · {} bons/good",
        count(Severity::Failure) + count(Severity::Configuration),
        count(Severity::Warning),
        count(Severity::Good),
    ));
}

fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Good => "✓",
        Severity::Note => "·",
        Severity::Warning => "!",
        Severity::Failure | Severity::Configuration => "✗",
    }
}
