//! A watcher's place in a resource's event log.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use arktos_core::Revision;

use super::history::EventLog;
use super::state::State;
use super::sync::Mutex;
use super::view::View;
use super::wakes::{Standing, Wakes};
use crate::select::{Delivery, Selection, WatchError};

/// A watcher's place in a resource's event log.
///
/// It is a number, not a queue: a cursor that nobody reads costs nobody anything and goes on where it stopped, or ends
/// with [`WatchError::Compacted`] when its place has left the window. While it waits at the end of the log it stands at
/// the head of the store: events that are none of its business neither wake it nor let it grow old.
///
/// It does not keep its engine alive.
pub struct Cursor {
    view: Arc<View>,
    wakes: Arc<Mutex<Wakes>>,
    slot: u32,
    selection: Selection,
    /// Events that may be its business and that it has not read, in their order.
    due: VecDeque<u64>,
    /// It reads the log by itself: until it waits again it is told of nothing.
    reading: bool,
    /// The place of the next event to read.
    place: u64,
    /// Everything up to here was delivered or is none of the selection's business.
    passed: Revision,
    /// The event before `place`, when that was read: what the next must link to.
    link: Option<Revision>,
    /// How it ended.
    ended: Option<WatchError>,
}

impl Cursor {
    pub(crate) fn open(view: &Arc<View>, selection: Selection, after: Revision) -> Result<Self, WatchError> {
        let wakes = view.wakes(&selection.resource);
        let place = view.with(|state| start(state, &selection, after))?;
        let slot = wakes.lock().register(&selection);
        let (view, due) = (view.clone(), VecDeque::new());
        Ok(Self { view, wakes, slot, selection, due, reading: true, place, passed: after, link: None, ended: None })
    }

    /// The next delivery. It never yields a bookmark: see [`bookmark_now`](Self::bookmark_now). Cancel safe: nothing is
    /// lost by dropping the future.
    ///
    /// # Errors
    /// [`WatchError`], after which the cursor has ended: it gives the same error from then on.
    pub async fn next(&mut self) -> Result<Delivery, WatchError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`next`](Self::next), for those who poll.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Delivery, WatchError>> {
        if let Some(ended) = &self.ended {
            return Poll::Ready(Err(ended.clone()));
        }
        let polled = self.step(context);
        if let Poll::Ready(Err(error)) = &polled {
            self.ended = Some(error.clone());
        }
        polled
    }

    /// The next delivery, if there is one already; never waits.
    ///
    /// # Errors
    /// As [`next`](Self::next); [`WatchError::Closed`] only after all that was published is delivered.
    pub fn try_next(&mut self) -> Result<Option<Delivery>, WatchError> {
        match self.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(next) => next.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    /// Everything up to here has been delivered. What the last delivery said, or further.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.passed
    }

    /// The revision of a bookmark that may be sent now: everything up to it has been delivered, or is none of the
    /// selection's business. On a cursor that waits it is the newest revision of the store, whatever others have
    /// written; it never falls.
    pub fn bookmark_now(&mut self) -> Revision {
        if self.ended.is_some() {
            return self.passed;
        }
        let wakes = self.wakes.lock();
        let standing = self.due.front().map_or_else(|| wakes.standing(self.slot), |place| Standing::Due(*place));
        let clear = self.view.with(|state| {
            if self.passed < state.origin {
                return self.passed; // it has ended, and is not told yet
            }
            let Some(kept) = state.resource(&self.selection.resource) else { return state.revision };
            match standing {
                Standing::Parked(place) => wakes.clear_until(place, &kept.log, state.revision),
                Standing::Due(place) => before(&kept.log, place),
                Standing::Reading if self.place >= kept.log.end() => state.revision,
                Standing::Reading => before(&kept.log, self.place),
            }
        });
        self.passed = self.passed.max(clear);
        self.passed
    }

    fn step(&mut self, context: &mut Context<'_>) -> Poll<Result<Delivery, WatchError>> {
        while !self.reading {
            if let Some(place) = self.due.pop_front() {
                match self.read_at(place) {
                    Some(next) => return Poll::Ready(next),
                    None => continue,
                }
            }
            let mut wakes = self.wakes.lock();
            match wakes.resume(self.slot, &mut self.due, context.waker()) {
                Standing::Parked(_) if wakes.is_closed() => return Poll::Ready(Err(WatchError::Closed)),
                Standing::Parked(_) => return Poll::Pending,
                Standing::Reading => self.reading = true,
                Standing::Due(_) => {}
            }
        }
        loop {
            if let Some(next) = self.read(u64::MAX) {
                return Poll::Ready(next);
            }
            let mut wakes = self.wakes.lock();
            // Whoever publishes stores the state before it takes this lock: an end that is seen here is the end.
            let moved = self.view.with(|state| {
                let end = state.resource(&self.selection.resource).map_or(0, |kept| kept.log.end());
                end > self.place || self.passed < state.origin
            });
            if moved {
                continue;
            }
            if wakes.is_closed() {
                return Poll::Ready(Err(WatchError::Closed));
            }
            wakes.park(self.slot, self.place, context.waker());
            self.reading = false;
            return Poll::Pending;
        }
    }

    /// Reads one event; what lies between is none of its business.
    fn read_at(&mut self, place: u64) -> Option<Result<Delivery, WatchError>> {
        if place != self.place {
            self.place = place;
            self.link = None;
        }
        self.read(place + 1)
    }

    /// Reads on to the next delivery, to the end of the log, or up to a place.
    fn read(&mut self, until: u64) -> Option<Result<Delivery, WatchError>> {
        let Self { view, selection, place, passed, link, .. } = self;
        view.with(|state| {
            if *passed < state.origin {
                // the store was taken in anew: what lies between is not known, not even of resources that are not there
                return Some(Err(WatchError::Compacted { wanted: *passed, oldest: state.origin }));
            }
            let log = &state.resource(&selection.resource)?.log;
            if *place < log.base() {
                if *passed < log.floor() {
                    return Some(Err(WatchError::Compacted { wanted: *passed, oldest: log.floor() }));
                }
                *place = log.first_after(*passed); // it was opened after what is yet to come: nothing is missed
                *link = None;
            }
            while *place < log.end().min(until) {
                let Some(event) = log.get(*place) else {
                    return Some(Err(WatchError::Broken { after: *passed }));
                };
                let fits = match *link {
                    Some(link) => event.previous == link,
                    None => event.previous < event.revision,
                };
                if !fits {
                    return Some(Err(WatchError::Broken { after: *passed }));
                }
                *link = Some(event.revision);
                *place += 1;
                if event.revision <= *passed {
                    continue; // written before the revision it was opened after
                }
                *passed = event.revision;
                if let Some(delivery) = event.seen_by(selection) {
                    return Some(Ok(delivery));
                }
            }
            None
        })
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.wakes.lock().deregister(self.slot);
    }
}

/// The place from which a watch after a revision reads.
fn start(state: &State, selection: &Selection, after: Revision) -> Result<u64, WatchError> {
    if let Some(oldest) = state.lost_at(after) {
        return Err(WatchError::Compacted { wanted: after, oldest });
    }
    let Some(kept) = state.resource(&selection.resource) else {
        return if after < state.origin {
            Err(WatchError::Compacted { wanted: after, oldest: state.origin })
        } else {
            Ok(0)
        };
    };
    let oldest = kept.log.floor();
    if after < oldest {
        return Err(WatchError::Compacted { wanted: after, oldest });
    }
    Ok(kept.log.first_after(after))
}

/// The revision of what lies before a place; zero when that is not known any more.
fn before(log: &EventLog, place: u64) -> Revision {
    if place == log.base() {
        return log.floor();
    }
    let event = place.checked_sub(1).and_then(|place| log.get(place));
    event.map_or(Revision::ZERO, |event| event.revision)
}
