//! Who is connected to a listener, and who goes first when it is full.
//!
//! Why somebody has to go: connections cost an attacker nothing, and ten thousand that say nothing would otherwise keep
//! CinetPay's notifications out for as long as they like. Whoever keeps us waiting longest is cut; a request that is
//! being answered never is.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::sync::CancellationToken;

/// A client that has taken nothing of its answer for so long may be cut when the listener is full, in seconds.
pub(super) const STALL_SECONDS_MAX: u64 = 30;

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client's turn: a head or a body is not complete, or nothing was asked yet.
    Waited = 0,
    /// Ours: the request is complete, its answer is not begun.
    Served = 1,
    /// The client's again: it takes its answer.
    Taken = 2,
    /// It has to go; nothing changes that any more.
    Cut = 3,
}

/// The connections of one listener. Its lock is taken when one begins or ends, and when there is no room: not by requests.
#[derive(Debug)]
pub(super) struct Room {
    /// Moments are counted from here.
    began: Instant,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    /// How many there ever were.
    entered: u64,
    here: BTreeMap<u64, (Arc<Place>, CancellationToken)>,
}

/// A stage and since when, in nanoseconds since the room began, in one word: whoever cuts a connection must not cut it
/// while it turns into one that is being answered.
#[derive(Debug)]
struct Place(AtomicU64);

/// One connection.
#[derive(Debug)]
pub(super) struct Guest {
    room: Arc<Room>,
    number: u64,
    place: Arc<Place>,
    /// Cancelled when it has to go.
    pub(super) cut: CancellationToken,
}

impl Default for Room {
    fn default() -> Self {
        Self { began: Instant::now(), guests: Mutex::default() }
    }
}

impl Room {
    /// A new connection: its request is waited for.
    pub(super) fn enter(self: &Arc<Self>) -> Arc<Guest> {
        let cut = CancellationToken::new();
        let place = Arc::new(Place(AtomicU64::new(word(Stage::Waited, self.nanos(Instant::now())))));
        let mut guests = self.lock();
        guests.entered += 1;
        let number = guests.entered;
        guests.here.insert(number, (Arc::clone(&place), cut.clone()));
        drop(guests);
        Arc::new(Guest { room: Arc::clone(self), number, place, cut })
    }

    /// Cuts whoever is waited for longest; failing that, whoever has not taken its answer for too long.
    pub(super) fn make_room(&self, now: Instant) -> bool {
        let stalled = self.nanos(now).checked_sub(STALL_SECONDS_MAX * 1_000_000_000);
        let guests = self.lock();
        loop {
            // Of those who came to their stage at the same moment the first one goes first.
            let Some((_, seen, place, cut)) = guests
                .here
                .values()
                .filter_map(|(place, cut)| {
                    let seen = place.0.load(Ordering::Acquire);
                    let (stage, since) = stage_of(seen);
                    let may = match stage {
                        Stage::Waited => true,
                        Stage::Taken => stalled.is_some_and(|stalled| since <= stalled),
                        Stage::Served | Stage::Cut => false,
                    };
                    may.then_some(((stage == Stage::Taken, since), seen, place, cut))
                })
                .min_by_key(|(rank, ..)| *rank)
            else {
                return false;
            };
            let gone = word(Stage::Cut, 0);
            // If it has moved on meanwhile, it is somebody else's turn.
            if place.0.compare_exchange(seen, gone, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                cut.cancel();
                return true;
            }
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word(stage: Stage, since: u64) -> u64 {
    since << 2 | stage as u64
}

fn stage_of(word: u64) -> (Stage, u64) {
    let stage = match word & 3 {
        0 => Stage::Waited,
        1 => Stage::Served,
        2 => Stage::Taken,
        _ => Stage::Cut,
    };
    (stage, word >> 2)
}

impl Guest {
    /// The request is complete.
    pub(super) fn is_served(&self) {
        self.change(Stage::Served);
    }

    fn change(&self, to: Stage) {
        let next = word(to, self.room.nanos(Instant::now()));
        let unless_cut = |seen| (stage_of(seen).0 != Stage::Cut).then_some(next);
        // Refused only to who has to go already.
        let _ = self.place.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, unless_cut);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.room.lock().here.remove(&self.number);
    }
}

/// A request's body, which tells when it is complete.
pub(super) struct Asked {
    body: Incoming,
    guest: Arc<Guest>,
}

impl Asked {
    pub(super) fn new(body: Incoming, guest: &Arc<Guest>) -> Self {
        if body.is_end_stream() {
            guest.is_served();
        }
        Self { body, guest: Arc::clone(guest) }
    }
}

impl Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let complete = matches!(frame, Poll::Ready(None)) || (frame.is_ready() && self.body.is_end_stream());
        if complete {
            self.guest.is_served();
        }
        frame
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, which tells what was taken of it; at its end the next request is waited for.
pub(super) struct Told<B> {
    body: B,
    guest: Arc<Guest>,
}

impl<B> Told<B> {
    pub(super) fn new(body: B, guest: &Arc<Guest>) -> Self {
        guest.change(Stage::Taken);
        Self { body, guest: Arc::clone(guest) }
    }
}

impl<B> Drop for Told<B> {
    fn drop(&mut self) {
        self.guest.change(Stage::Waited);
    }
}

impl<B: Body + Unpin> Body for Told<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.guest.change(Stage::Taken);
        }
        frame
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Which of the guests are cut.
    fn cut(guests: &[Arc<Guest>]) -> Vec<usize> {
        (0..guests.len()).filter(|n| guests[*n].cut.is_cancelled()).collect()
    }

    #[test]
    fn whoever_is_waited_for_longest_goes_first_and_nobody_who_is_served() {
        let room = Arc::new(Room::default());
        let guests: Vec<_> = (0..5).map(|_| room.enter()).collect();
        guests[0].is_served();
        guests[1].change(Stage::Taken);
        let back = Told::new((), &guests[2]);
        drop(back);
        let now = Instant::now();
        for (expected, seen) in [(3, vec![3]), (4, vec![3, 4]), (2, vec![2, 3, 4])] {
            assert!(room.make_room(now), "{expected}");
            assert_eq!(cut(&guests), seen);
        }
        assert!(!room.make_room(now), "one is served, one takes its answer");
        let later = now + Duration::from_secs(STALL_SECONDS_MAX + 1);
        assert!(room.make_room(later));
        assert_eq!(cut(&guests), [1, 2, 3, 4], "whoever stalls goes too");
        assert!(!room.make_room(later));
        guests[3].is_served();
        assert!(!room.make_room(later), "whoever has to go stays cut");
        drop(guests);
        assert!(room.lock().here.is_empty(), "{room:?}");
    }
}
