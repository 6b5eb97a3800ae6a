//! Limits that hold for several daemons together.

use super::PortFuture;
use crate::domain::quota::{Drawn, Quota};

/// Where all daemons draw their permits from. A daemon that is alone has none of this, and counts for itself.
///
/// Why a boundary: CinetPay's client and the postman must not know what the daemons share.
pub trait Permits: Send + Sync + 'static {
    /// As many of `quota` as are free, at most `most` and a burst. None: nobody could be asked, so there is no permit; some
    /// may have been counted all the same.
    fn draw(&self, quota: Quota, most: u32) -> PortFuture<'_, Option<Drawn>>;
}
