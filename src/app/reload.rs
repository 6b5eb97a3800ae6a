//! SIGHUP: the catalogue, the limits, the log's level and the mail settings are read again, all of them or none.

use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use super::wiring::{self, Live};
use crate::adapters::systemd::Supervisor;
use crate::adapters::token::Links;
use crate::config::{self, Config, Given};
use crate::telemetry;

/// What a running daemon replaces, and what it was last told.
pub(super) struct Reloader {
    live: Live,
    links: Arc<Links>,
    config: Config,
}

/// Why the old settings go on. Each line is for the log.
#[derive(Debug)]
pub(super) struct Refused(Vec<String>);

impl Reloader {
    pub(super) fn new(live: Live, links: Arc<Links>, config: Config) -> Self {
        Self { live, links, config }
    }

    /// Takes `next` over. Everything that can fail comes before the first change, so there is no half of it.
    fn apply(&mut self, mut next: Config) -> Result<(), Refused> {
        let restart = self.config.needs_restart(&next);
        next.server.public_url = self.config.server.public_url.clone();
        next.mail.timeout = self.config.mail.timeout;
        // A lease lasts as long as it did at the start, and the postman must know how long.
        next.cinetpay.timeout = self.config.cinetpay.timeout;
        let postman = wiring::postman(&next, &self.links, self.live.permits.clone())
            .map_err(|why| Refused(vec![why.to_string()]))?;
        self.live.postman.replace(postman);
        self.live.catalog.replace(next.catalog.catalog.clone());
        self.live.limiters.replace(self.config.limits, next.limits);
        telemetry::refilter(&next.log.level);
        for name in restart {
            tracing::warn!(variable = name, "changed, but only a restart takes it over");
        }
        for warning in &next.warnings {
            tracing::warn!(variable = %warning.name, "{}", warning.english);
        }
        // Only what was taken over: the next comparison must again name what still waits for a restart.
        self.config.catalog = next.catalog;
        self.config.limits = next.limits;
        Ok(())
    }

    fn read(&mut self, given: &Given) -> Result<(), Refused> {
        let next = config::load(given)
            .map_err(|problems| Refused(problems.0.iter().map(ToString::to_string).collect()))?;
        self.apply(next)
    }
}

/// Reloads at every `hangup` until `stop`. One at a time; hang-ups during one are one more.
pub(super) async fn reloads(
    mut reloader: Reloader,
    given: Given,
    mut hangup: Signal,
    supervisor: Arc<Supervisor>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            heard = hangup.recv() => if heard.is_none() { return },
        }
        supervisor.reloading();
        // A few small files, read on this thread's time as at the start.
        let outcome = match tokio::task::block_in_place(|| reloader.read(&given)) {
            Ok(()) => {
                tracing::info!("settings reloaded: catalogue, limits, log level, mail");
                "applied"
            }
            Err(Refused(lines)) => {
                for line in lines {
                    tracing::error!("{line}");
                }
                tracing::error!("settings not reloaded: the old ones go on, all of them");
                "refused"
            }
        };
        metrics::counter!("auditshield_reloads_total", "outcome" => outcome).increment(1);
        supervisor.ready(outcome);
    }
}
