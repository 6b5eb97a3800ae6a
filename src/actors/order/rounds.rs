//! Deciding where other nodes may decide too: read, decide, commit; and again, where another was first.

use super::State;
use crate::actors::AskError;
use crate::domain::input::Input;
use crate::domain::values::OrderId;
use crate::ledger::{CommitError, Lease};

/// Rounds in which other nodes may be first. Then the sender is asked to come again.
const ROUNDS_MAX: usize = 8;

impl State {
    /// Reads the order again where another node may have gone on with it. False: it cannot be read.
    pub(super) async fn refresh(&mut self) -> bool {
        let ledger = &self.shared.parts.ledger;
        let Some(order) = self.order.filter(|_| ledger.is_shared()) else { return true };
        match ledger.newest(order).await {
            Ok(standing) => {
                self.standing = standing;
                true
            }
            Err(fault) => {
                tracing::warn!(%order, %fault, "an order cannot be read");
                false
            }
        }
    }

    /// Commits what `input` leads to. Where this daemon has the ledger alone that is one round, and a conflict is a fault:
    /// somebody else acts for the order.
    pub(super) async fn settle(
        &mut self,
        order: OrderId,
        input: &Input,
        lease: Option<&Lease>,
    ) -> Result<Result<bool, AskError>, CommitError> {
        let is_shared = self.shared.parts.ledger.is_shared();
        for round in 1..=ROUNDS_MAX {
            let fault = match self.commit(order, input, lease).await {
                Err(fault) if is_shared => fault,
                outcome => {
                    if is_shared && matches!(outcome, Ok(Ok(_))) {
                        metrics::histogram!("auditshield_commit_rounds").record(round as f64);
                    }
                    return outcome;
                }
            };
            match fault {
                CommitError::Conflict => {
                    metrics::counter!("auditshield_commit_conflicts_total").increment(1);
                    let was_new = self.standing.is_none();
                    if !self.refresh().await {
                        return Ok(Err(AskError::NoRoom));
                    }
                    // A new order that is refused although nobody has it: its key stands for another one.
                    if was_new && self.standing.is_none() {
                        return Ok(Err(AskError::Busy));
                    }
                }
                CommitError::Fenced => {
                    metrics::counter!("auditshield_commits_fenced_total").increment(1);
                    self.refresh().await;
                    return Ok(Err(AskError::Gone));
                }
                // Nothing was answered. What is true is read before the next message.
                CommitError::Unknown => return Ok(Err(AskError::Gone)),
                CommitError::Closed | CommitError::Read(_) | CommitError::NoRoom | CommitError::Io(_) => {
                    return Ok(Err(AskError::NoRoom));
                }
                // `commit` answers the last by itself.
                fault @ (CommitError::Fold(_) | CommitError::TooLarge | CommitError::Unsealed) => {
                    return Err(fault);
                }
            }
        }
        metrics::counter!("auditshield_commits_exhausted_total").increment(1);
        Ok(Err(AskError::Busy))
    }
}
