//! Who is connected to a listener, and who goes first when it is full.
//!
//! Why somebody has to go: connections cost an attacker nothing, and ten thousand that say nothing would otherwise keep
//! CinetPay's notifications out for as long as they like. Whoever keeps us waiting longest is cut; a request that is
//! being answered never is.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::sync::CancellationToken;

/// A client that has taken nothing of its answer for so long may be cut when the listener is full, in seconds.
pub(super) const STALL_SECONDS_MAX: u64 = 30;

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client's turn: a head or a body is not complete, or nothing was asked yet.
    Waited,
    /// Ours: the request is complete, its answer is not begun.
    Served,
    /// The client's again: it takes its answer.
    Taken,
}

/// The connections of one listener.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<Guests>);

#[derive(Debug, Default)]
struct Guests {
    /// Counts changes of stage: the lowest number has been waited for longest.
    turn: u64,
    waited: BTreeMap<u64, CancellationToken>,
    taken: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Guest {
    room: Arc<Room>,
    /// Its stage, and its turn in that stage.
    place: Mutex<(Stage, u64)>,
    /// Cancelled when it has to go.
    pub(super) cut: CancellationToken,
}

impl Room {
    /// A new connection: its request is waited for.
    pub(super) fn enter(self: &Arc<Self>) -> Arc<Guest> {
        let cut = CancellationToken::new();
        let place = Mutex::new((Stage::Waited, self.lock().sit(Stage::Waited, &cut)));
        Arc::new(Guest { room: Arc::clone(self), place, cut })
    }

    /// Cuts whoever is waited for longest; failing that, whoever has not taken its answer for too long.
    pub(super) fn make_room(&self, now: Instant) -> bool {
        let mut guests = self.lock();
        let stalled = |since: Instant| now.duration_since(since) >= Duration::from_secs(STALL_SECONDS_MAX);
        let longest = guests.waited.pop_first().map(|(_, cut)| cut).or_else(|| {
            let (turn, _) = guests.taken.iter().next().filter(|(_, (since, _))| stalled(*since))?;
            let turn = *turn;
            guests.taken.remove(&turn).map(|(_, cut)| cut)
        });
        if let Some(cut) = &longest {
            cut.cancel();
        }
        longest.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    fn sit(&mut self, stage: Stage, cut: &CancellationToken) -> u64 {
        self.turn += 1;
        match stage {
            Stage::Waited => drop(self.waited.insert(self.turn, cut.clone())),
            Stage::Taken => drop(self.taken.insert(self.turn, (Instant::now(), cut.clone()))),
            Stage::Served => {}
        }
        self.turn
    }

    fn rise(&mut self, (stage, turn): (Stage, u64)) {
        match stage {
            Stage::Waited => drop(self.waited.remove(&turn)),
            Stage::Taken => drop(self.taken.remove(&turn)),
            Stage::Served => {}
        }
    }
}

impl Guest {
    /// The request is complete.
    pub(super) fn is_served(&self) {
        self.change(Stage::Served);
    }

    fn change(&self, to: Stage) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if self.cut.is_cancelled() {
            return;
        }
        let mut guests = self.room.lock();
        guests.rise(*place);
        *place = (to, guests.sit(to, &self.cut));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let place = *self.place.lock().unwrap_or_else(PoisonError::into_inner);
        self.room.lock().rise(place);
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
        drop(guests);
        let left = room.lock();
        assert!(left.waited.is_empty() && left.taken.is_empty(), "{left:?}");
    }
}
