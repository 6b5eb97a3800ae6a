//! The go-live checklist as checks: each says what it saw, and what to do where that is not well, French first.
//!
//! Membership test: it looks at the installation from outside the daemon and changes nothing.

mod database;
mod machine;
mod mail;
mod provider;
mod reach;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::{Config, Given, Problems};
use crate::domain::values::Email;
use crate::ports::Clock;

/// How bad it is. Ordered: the worst one decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// It works, and will bite some day. Before going live it counts as a failure.
    Warning,
    /// It does not work.
    Failure,
    /// A setting is missing or wrong: the daemon does not start.
    Configuration,
}

/// What one check saw.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen and what to do, in French.
    pub fr: String,
    /// The same, in English.
    pub en: String,
}

impl Finding {
    fn new(check: &'static str, severity: Severity, fr: impl Into<String>, en: impl Into<String>) -> Self {
        Self { check, severity, fr: fr.into(), en: en.into() }
    }
    fn good(check: &'static str, fr: impl Into<String>, en: impl Into<String>) -> Self {
        Self::new(check, Severity::Good, fr, en)
    }
    fn note(check: &'static str, fr: impl Into<String>, en: impl Into<String>) -> Self {
        Self::new(check, Severity::Note, fr, en)
    }
    fn warning(check: &'static str, fr: impl Into<String>, en: impl Into<String>) -> Self {
        Self::new(check, Severity::Warning, fr, en)
    }
    fn failure(check: &'static str, fr: impl Into<String>, en: impl Into<String>) -> Self {
        Self::new(check, Severity::Failure, fr, en)
    }
}

/// What is examined, and with what.
pub struct Patient {
    /// The settings.
    pub config: Config,
    /// Where they came from.
    pub given: Given,
    /// The time of day.
    pub clock: Clock,
    /// Whom to ask for DNS records; none: they are not looked at.
    pub resolver: Option<SocketAddr>,
    /// Where copies of the journal are.
    pub backup: PathBuf,
    /// The process limits, as `/proc/self/limits` spells them.
    pub limits: PathBuf,
    /// Under which names the domain's DKIM key is looked for.
    pub dkim_selectors: Vec<String>,
    /// Who gets a trial mail.
    pub trial_to: Option<Email>,
    /// Whether it is about to sell for real money.
    pub go_live: bool,
}

/// Every check, in the order in which a remedy helps: settings first, what depends on them later.
pub async fn examine(patient: &Patient) -> Vec<Finding> {
    let metrics = reach::metrics(patient).await;
    let mut findings = settings::examine(patient);
    findings.extend(machine::examine(patient, metrics.as_deref()));
    findings.extend(database::examine(patient).await);
    findings.extend(reach::examine(patient, metrics.as_deref()).await);
    findings.extend(provider::examine(patient).await);
    findings.extend(mail::examine(patient).await);
    findings
}

/// Settings that do not even load, as findings.
pub fn unreadable(problems: &Problems) -> Vec<Finding> {
    let finding = |problem: &crate::config::Problem| {
        let (name, fr, en) = (&problem.name, &problem.french, &problem.english);
        Finding::new("settings", Severity::Configuration, format!("{name} : {fr}"), format!("{name}: {en}"))
    };
    problems.0.iter().map(finding).collect()
}

/// Whom this system asks for DNS records.
pub fn resolver() -> Option<SocketAddr> {
    crate::adapters::dns::resolver()
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Good)
}
