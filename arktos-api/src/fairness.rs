//! Fairness between tenants: how many requests are worked on at a time, and whose turn it is.
//!
//! | question | where |
//! |---|---|
//! | how many, of whom | [`Fairness`] |
//! | whose turn is it | `machine`, which knows neither time nor tasks |
//! | how many can be worked on, as the machine is | `pace` |
//! | how many share what there is | `lately` |
//! | how much work is a request | `work` |
//! | how many a second may a tenant make | `rates` |
//! | does a connection stand behind others | `rank`; where requests are only passed on, `shares` |
//! | how long does who is not known wait to be told so | `refusals` |
//! | how often may an address come with what does not count | `failures` |
//!
//! Every request that is not the region's own takes seats for as long as it is worked on: one, or more for lists of
//! many objects. Where there are none left it waits with others of its tenant, and tenants take turns by the work they
//! have been given. There are fewer seats while those who have one wait for the machine. A watch takes seats only until
//! it is open; after that it is counted by itself.

mod failures;
mod lately;
mod machine;
mod pace;
mod rank;
mod rates;
mod refusals;
mod shares;
mod work;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Reason, Status, Timestamp};
use arktos_store::Clock;
use arktos_store::tasks::give_way;
use futures::channel::oneshot;
use futures::future::{Either, select};
use parking_lot::Mutex;

use crate::identity::Identity;
use machine::{Arrival, Machine, Ticket, Turn};

pub(crate) use failures::Failures;
pub use rank::PeerRank;
pub(crate) use rates::{Rates, follow};
pub use refusals::PeerRefusals;
pub use shares::{Passed, Shares};
pub use work::is_large;
pub(crate) use work::{seats, watches, weight};

/// Of so many requests that have their seats at once, one is asked how long it waits for the machine.
const ASKED_ONE_OF: u32 = 8;

/// How many requests are worked on and wait, in all and of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fairness {
    /// The seats of requests that are under way at a time. Default: 600, as many as upstream works on.
    pub seats: u32,
    /// The seats that are left when requests that have one wait for a core, and wait in turns for seats instead. Those
    /// that wait for a disk or somebody else take none of them. Default: 4.
    pub seats_at_least: u32,
    /// The seats that one tenant can have, however idle the others are: what is left lets somebody else in at once.
    /// Default: 150.
    pub seats_per_tenant: u32,
    /// How many requests of a tenant wait for seats. One more is refused. Default: 500.
    pub queue_per_tenant: u32,
    /// How many requests of all tenants wait. Default: 20,000.
    pub queue: u32,
    /// How long a request waits before it is refused. Default: 15 seconds.
    pub longest_wait: Duration,
    /// How many watches a tenant has open at a time. One with long selectors counts as several. Default: 10,000.
    pub watches_per_tenant: u32,
}

impl Default for Fairness {
    fn default() -> Self {
        Self {
            seats: 600,
            seats_at_least: 4,
            seats_per_tenant: 150,
            queue_per_tenant: 500,
            queue: 20_000,
            longest_wait: Duration::from_secs(15),
            watches_per_tenant: 10_000,
        }
    }
}

/// Whose requests take turns with each other: a tenant's, or those of nobody in particular.
pub(crate) type Flow = Arc<str>;

/// The flow of those who are not known.
pub(crate) fn nobody() -> Flow {
    "".into()
}

/// The flow of someone's requests; absent for those of the region's own components, which wait for nobody.
pub(crate) fn flow(identity: &Identity) -> Option<Flow> {
    if identity.is_component() {
        return None;
    }
    // Whoever comes without credentials does not take the place of the region's users, whose tenant it is said to be
    // in.
    let unknown = identity.is_in("system:unauthenticated");
    Some(identity.tenant.as_ref().filter(|_| !unknown).map_or_else(nobody, |tenant| tenant.as_str().into()))
}

/// How somebody asks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asks<'a> {
    /// How much of its share it takes.
    pub(crate) weight: u32,
    /// Whether the body is a large one.
    pub(crate) large: bool,
    /// Over which connection, where it is known.
    pub(crate) connection: Option<&'a PeerRank>,
}

impl Asks<'_> {
    /// Whether whoever asks stands behind others for a core.
    fn is_behind(self) -> bool {
        self.large || self.connection.is_some_and(PeerRank::is_behind)
    }
}

/// Who works and who waits. Cloning it shares it.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Shared>);

struct Shared {
    config: Fairness,
    clock: Arc<dyn Clock>,
    /// Written by whoever comes, goes, or gives up.
    state: Mutex<State>,
}

struct State {
    machine: Machine,
    /// Who is told when it is their turn, and the moment of that.
    waiting: HashMap<Ticket, oneshot::Sender<(Permit, Timestamp)>>,
    /// Requests that had their seats at once, since one was asked how long it waits for the machine.
    unasked: u32,
}

/// Seats that somebody has. They are given back when it is dropped.
pub(crate) struct Permit {
    turns: Turns,
    flow: Flow,
    seats: u32,
    /// Whoever has them waits for something else than a core.
    away: bool,
}

/// A watch that is open. It is counted until this is dropped.
pub(crate) struct OpenWatch {
    turns: Turns,
    flow: Flow,
    weight: u32,
}

/// A long answer that goes out piece by piece. It has no seats, and holds up nobody: it may wait for its reader at any
/// time.
pub(crate) struct Pieces {
    turns: Turns,
    flow: Flow,
}

/// A place in the queue, left when it is dropped.
struct Place<'a> {
    turns: &'a Turns,
    flow: &'a Flow,
    ticket: Ticket,
}

impl Turns {
    pub(crate) fn new(config: Fairness, clock: Arc<dyn Clock>) -> Self {
        let state = State { machine: Machine::new(config), waiting: HashMap::new(), unasked: 0 };
        Self(Arc::new(Shared { config, clock, state: Mutex::new(state) }))
    }

    /// Waits for seats, and says of the connection how it stands. Who is behind others for a core, too, is not asked
    /// how long it waits for one.
    ///
    /// # Errors
    /// 429 when too many wait already, or the turn does not come in time.
    pub(crate) async fn take(&self, flow: &Flow, seats: u32, asks: Asks<'_>) -> Result<Permit, Status> {
        let behind = asks.is_behind();
        let arrival = {
            let mut state = self.0.state.lock();
            let beyond = state.machine.note(flow, asks.weight, self.0.clock.now());
            asks.connection.inspect(|connection| connection.note(flow, beyond));
            match state.machine.arrive(flow, seats) {
                Arrival::Runs(seats) => Either::Left((seats, !behind && state.asks())),
                Arrival::Refused => return Err(refused()),
                Arrival::Waits(ticket) => {
                    let (tell, told) = oneshot::channel();
                    state.waiting.insert(ticket, tell);
                    Either::Right((ticket, told))
                }
            }
        };
        let (ticket, told) = match arrival {
            Either::Right(waits) => waits,
            Either::Left((seats, asks)) => {
                let permit = Permit { turns: self.clone(), flow: flow.clone(), seats, away: false };
                if asks {
                    let ready = self.0.clock.now();
                    give_way().await;
                    self.hear(ready);
                }
                return Ok(permit);
            }
        };
        let place = Place { turns: self, flow, ticket };
        let outcome = match select(told, self.0.clock.sleep(self.0.config.longest_wait)).await {
            Either::Left((Ok((permit, ready)), _)) => {
                if !behind {
                    self.hear(ready);
                }
                Ok(permit)
            }
            _ => Err(refused()),
        };
        drop(place);
        outcome
    }

    /// One that could go on from a moment goes on now.
    fn hear(&self, ready: Timestamp) {
        let now = self.0.clock.now();
        self.change(|state| state.machine.hear(now, now.since(ready)));
    }

    /// A body of so many bytes has come from someone: what its reader has to do counts as what they ask for. (What a
    /// request says of its body does not: it need not come.)
    pub(crate) fn has_read(&self, identity: &Identity, length: usize) {
        let weight = work::weight_of_body(length);
        if weight > 0
            && let Some(flow) = flow(identity)
        {
            self.0.state.lock().machine.note(&flow, weight, self.0.clock.now());
        }
    }

    /// How someone's long answers go out, if not as quickly as they are read.
    pub(crate) fn pieces(&self, identity: &Identity) -> Option<Pieces> {
        let flow = flow(identity)?;
        self.0.state.lock().machine.begin_pieces(&flow);
        Some(Pieces { turns: self.clone(), flow })
    }

    /// Counts a watch, as one or as several.
    ///
    /// # Errors
    /// 429 when the tenant has too many.
    pub(crate) fn open_watch(&self, flow: &Flow, weight: u32) -> Result<OpenWatch, Status> {
        let opened = self.0.state.lock().machine.open_watch(flow, weight);
        let many = || {
            let most = self.0.config.watches_per_tenant;
            let text = format!("the tenant has {most} watches open, which is as many as it may: close some");
            Status::failure(Reason::TooManyRequests, text).retry_after(5)
        };
        if opened { Ok(OpenWatch { turns: self.clone(), flow: flow.clone(), weight }) } else { Err(many()) }
    }

    /// Tells those whose turn has come.
    fn tell(&self, told: Vec<(Permit, oneshot::Sender<(Permit, Timestamp)>)>) {
        for (permit, tell) in told {
            // Whoever has stopped waiting drops it, and that gives the seats back. No lock is held here.
            drop(tell.send((permit, self.0.clock.now())));
        }
    }

    /// Changes who works and waits, and tells those whose turn has come by it.
    fn change(&self, change: impl FnOnce(&mut State) -> Vec<Turn>) {
        let told = {
            let mut state = self.0.state.lock();
            let turns = change(&mut state);
            let mut told = Vec::with_capacity(turns.len());
            for turn in turns {
                if let Some(tell) = state.waiting.remove(&turn.ticket) {
                    let Turn { flow, seats, .. } = turn;
                    told.push((Permit { turns: self.clone(), flow, seats, away: false }, tell));
                }
            }
            told
        };
        self.tell(told);
    }
}

impl State {
    /// Whether this request is asked how long it waits for the machine: one of some, while there may be something to
    /// hear.
    fn asks(&mut self) -> bool {
        if !self.machine.is_busy() {
            return false;
        }
        self.unasked = (self.unasked + 1) % ASKED_ONE_OF;
        self.unasked == 0
    }
}

impl Pieces {
    /// Lets others go on before one more piece is made: those who can now and, where tenants wait for each other, those
    /// who can within the next milliseconds.
    pub(crate) async fn next(&self) {
        let Shared { clock, state, .. } = &*self.turns.0;
        let wait = state.lock().machine.piece(&self.flow, clock.now());
        if wait.is_zero() { give_way().await } else { clock.sleep(wait).await }
    }
}

impl Permit {
    /// How many they are.
    pub(crate) fn seats(&self) -> u32 {
        self.seats
    }

    /// Does what the seats are for. While that waits for something, others go on: a write that waits for the disk needs
    /// no core.
    pub(crate) async fn work<T>(mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.come_back();
            let done = work.as_mut().poll(context);
            if done.is_pending() {
                self.go_away();
            }
            done
        })
        .await
    }

    fn go_away(&mut self) {
        self.away = true;
        self.turns.change(|state| state.machine.go_away(&self.flow, self.seats));
    }

    fn come_back(&mut self) {
        if std::mem::take(&mut self.away) {
            self.turns.0.state.lock().machine.come_back(&self.flow, self.seats);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.come_back();
        self.turns.change(|state| state.machine.leave(&self.flow, self.seats));
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.turns.0.state.lock().machine.end_pieces(&self.flow);
    }
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.turns.0.state.lock().machine.close_watch(&self.flow, self.weight);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.change(|state| match state.waiting.remove(&self.ticket) {
            Some(_) => state.machine.give_up(self.flow, self.ticket),
            None => Vec::new(),
        });
    }
}

/// 429 in upstream's words.
fn refused() -> Status {
    Status::failure(Reason::TooManyRequests, "too many requests, please try again later.").retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_store::clock::ManualClock;
    use futures::FutureExt;

    fn turns() -> (Turns, ManualClock) {
        let clock = ManualClock::new(Timestamp::parse("2026-01-01T00:00:00Z").expect("a moment"));
        let config =
            Fairness { seats: 2, seats_at_least: 1, seats_per_tenant: 2, queue_per_tenant: 2, ..Fairness::default() };
        (Turns::new(config, Arc::new(clock.clone())), clock)
    }

    #[test]
    fn who_waits_is_told_when_seats_are_given_back() {
        let (turns, _) = turns();
        let flow: Flow = "acme".into();
        let first = turns.take(&flow, 2, Asks::default()).now_or_never().expect("at once").expect("a permit");
        let mut second = Box::pin(turns.take(&flow, 1, Asks::default()));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.now_or_never().expect("at once").expect("a permit");
        drop(second);
        assert!(turns.0.state.lock().machine.is_idle());
    }

    #[test]
    fn who_stops_waiting_leaves_the_queue_and_seats_that_were_given_to_it_are_given_on() {
        let (turns, _) = turns();
        let flow: Flow = "acme".into();
        let first = turns.take(&flow, 2, Asks::default()).now_or_never().expect("at once").expect("a permit");
        let mut second = Box::pin(turns.take(&flow, 1, Asks::default()));
        assert!(second.as_mut().now_or_never().is_none());
        let mut third = Box::pin(turns.take(&flow, 2, Asks::default()));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first); // the second has its turn, and does not know yet
        drop(second);
        assert!(third.now_or_never().expect("at once").is_ok());
        assert!(turns.0.state.lock().machine.is_idle());
    }

    #[test]
    fn while_one_waits_for_something_else_the_next_has_its_turn() {
        let (turns, clock) = turns();
        let (flow, other): (Flow, Flow) = ("acme".into(), "umbra".into());
        let take = |flow| turns.take(flow, 1, Asks::default()).now_or_never().expect("at once").expect("a permit");
        // Two seats of which one is left, for one tenant as for two.
        for _ in 0..20 {
            clock.advance(Duration::from_secs(1));
            turns.0.state.lock().machine.hear(clock.now(), Duration::from_secs(1));
        }
        let (written, told) = oneshot::channel();
        let mut first = Box::pin(take(&flow).work(told));
        let mut second = Box::pin(turns.take(&other, 1, Asks::default()));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.as_mut().now_or_never().is_none());
        let second = second.now_or_never().expect("its turn").expect("a permit");
        let mut third = Box::pin(second.work(std::future::pending::<()>()));
        assert!(third.as_mut().now_or_never().is_none());
        drop(third); // given up while it was away
        written.send(7).expect("it waits");
        assert_eq!(first.now_or_never(), Some(Ok(7)));
        assert!(turns.0.state.lock().machine.is_idle());
    }

    #[test]
    fn whose_turn_does_not_come_in_time_is_refused() {
        let (turns, clock) = turns();
        let flow: Flow = "acme".into();
        let _first = turns.take(&flow, 2, Asks::default()).now_or_never().expect("at once").expect("a permit");
        let mut second = Box::pin(turns.take(&flow, 1, Asks::default()));
        assert!(second.as_mut().now_or_never().is_none());
        clock.advance(Duration::from_secs(16));
        let refused = second.now_or_never().expect("at once").map(drop).expect_err("refused");
        assert_eq!((refused.code, refused.details.map(|details| details.retry_after_seconds)), (429, Some(1)));
        assert!(turns.0.state.lock().waiting.is_empty());
    }
}
