//! Which request is moved on next, of those that could go on.
//!
//! Seats bound how many requests are under way; most of those wait, for the disk or for somebody else. When what a
//! request waits for has come, it stands in line once more, here, until one of a few places is free: as many as the
//! cores can have use of. Without that, a hundred requests of one tenant that become durable together would all be
//! answered before another tenant's single one is looked at.
//!
//! Tenants take turns by the time that was spent on them: the one that has had least is next, and none can save up. One
//! tenant never has the last place, so that another one's request goes on at once.
//!
//! ```text
//!  new ──polled──► waits ──its turn──► granted ──polled──► works ──► rests
//!                    ▲                    │                            │
//!                    ├─ polled too late ◄─┘                            │
//!                    └──────────────────────────────────── woken ◄─────┘
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use arktos_core::Timestamp;
use arktos_store::Clock;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::Flow;

/// How long a place is kept for somebody who does not come for it: the reader of a list that has stopped reading.
const KEPT: Duration = Duration::from_millis(100);

/// The places, and who waits for them. Cloning it shares it.
#[derive(Clone)]
pub(crate) struct Processor(Arc<Shared>);

struct Shared {
    /// How many are worked on at a time, and how many of those that take long.
    places: usize,
    long_places: usize,
    clock: Arc<dyn Clock>,
    /// Written by whoever is woken, polled or dropped. Nobody is woken under it.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who has a place.
    placed: HashMap<Ticket, Placed>,
    /// How many of them take long.
    long: usize,
    /// How many wait.
    waiting: usize,
    /// Where the one stood who was let in last, in microseconds of work.
    now: u64,
    next: Ticket,
    flows: HashMap<Flow, Line>,
    /// The flows that wait and may have a place, the one that has had least first.
    ready: BTreeMap<(u64, Ticket), Flow>,
}

/// What stands for a job from when it waits until its place is given back.
type Ticket = u64;

struct Placed {
    job: Arc<Job>,
    /// Since when it could work; absent once it does.
    granted: Option<Timestamp>,
}

/// A tenant's line.
#[derive(Default)]
struct Line {
    /// The work that was done for it, from where others stood when it came.
    had: u64,
    placed: usize,
    waiting: VecDeque<(Ticket, Arc<Job>)>,
    /// Under what it stands in `ready`.
    stands: Option<(u64, Ticket)>,
}

/// A future that is worked on in turn.
struct Job {
    shared: Arc<Shared>,
    flow: Flow,
    /// Whether one turn of it may take milliseconds.
    long: bool,
    /// The task that polls it.
    task: AtomicWaker,
    /// Written under the lock of [`Shared::state`].
    standing: Mutex<Standing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It asks for a place when it is polled next.
    New,
    Rests,
    Waits(Ticket),
    Granted(Ticket),
    Works(Ticket),
    /// It works, and has been woken meanwhile.
    WorksOn(Ticket),
    Over,
}

/// A future whose turns to be polled come with those of its tenant.
pub(crate) struct Work<F: Future> {
    job: Arc<Job>,
    /// Wakes the job rather than the task.
    waker: Waker,
    future: Pin<Box<F>>,
}

impl Processor {
    /// Places for so many cores.
    pub(crate) fn new(cores: u32, clock: Arc<dyn Clock>) -> Self {
        let cores = (cores as usize).max(1);
        // One waits for each that works, so that no core looks for work; of what takes long, one core is kept free.
        let (places, long_places) = (cores * 2, (cores - 1).max(1));
        Self(Arc::new(Shared { places, long_places, clock, state: Mutex::default() }))
    }

    /// The future, polled in the flow's turns. Those that may take milliseconds at a time are `long`: of them fewer are
    /// worked on at a time than there are cores.
    pub(crate) fn work<F: Future>(&self, flow: Flow, long: bool, future: F) -> Work<F> {
        let (task, standing) = (AtomicWaker::new(), Mutex::new(Standing::New));
        let job = Arc::new(Job { shared: self.0.clone(), flow, long, task, standing });
        Work { waker: job.clone().into(), job, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Work<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let job = &this.job;
        // Nobody wakes the task for what it has at once.
        let begun = job.come().or_else(|| {
            job.task.register(context.waker());
            job.shared.begin(job)
        });
        let Some(begun) = begun else { return Poll::Pending };
        job.task.register(context.waker());
        let outcome = this.future.as_mut().poll(&mut Context::from_waker(&this.waker));
        job.shared.end(job, begun, outcome.is_ready());
        outcome
    }
}

impl<F: Future> Drop for Work<F> {
    fn drop(&mut self) {
        self.job.shared.give_up(&self.job);
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        self.ask();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ask();
    }
}

impl Job {
    /// Begins if it can; whoever does not stand in line yet does now.
    fn come(self: &Arc<Self>) -> Option<Timestamp> {
        if *self.standing.lock() == Standing::New {
            self.ask();
        }
        self.shared.begin(self)
    }

    /// Stands in line, unless it does or is being worked on.
    fn ask(self: &Arc<Self>) {
        self.shared.change(|shared, state| {
            let mut standing = self.standing.lock();
            match *standing {
                Standing::New | Standing::Rests => *standing = Standing::Waits(state.line_up(shared, self)),
                Standing::Works(ticket) => *standing = Standing::WorksOn(ticket),
                _ => {}
            }
        });
    }
}

impl Shared {
    /// Changes something, and wakes those who have a place by it.
    fn change(&self, change: impl FnOnce(&Self, &mut State)) {
        let woken = {
            let mut state = self.state.lock();
            change(self, &mut state);
            state.fill(self)
        };
        woken.iter().for_each(|job| job.task.wake());
    }

    /// Begins to work on a job whose turn it is.
    fn begin(&self, job: &Arc<Job>) -> Option<Timestamp> {
        let now = self.clock.now();
        let mut begins = false;
        self.change(|_, state| {
            let mut standing = job.standing.lock();
            if let Standing::Granted(ticket) = *standing {
                *standing = Standing::Works(ticket);
                begins = true;
                if let Some(placed) = state.placed.get_mut(&ticket) {
                    placed.granted = None;
                }
            }
        });
        begins.then_some(now)
    }

    /// Ends a turn. Who was woken meanwhile stands in line again.
    fn end(&self, job: &Arc<Job>, begun: Timestamp, over: bool) {
        let took = u64::try_from(self.clock.now().since(begun).as_micros()).unwrap_or(0).max(1);
        self.change(|shared, state| {
            let mut standing = job.standing.lock();
            let again = matches!(*standing, Standing::WorksOn(_));
            if let Standing::Works(ticket) | Standing::WorksOn(ticket) = *standing {
                state.leave(shared, ticket, took);
            }
            *standing = match (over, again) {
                (true, _) => Standing::Over,
                (false, true) => Standing::Waits(state.line_up(shared, job)),
                (false, false) => Standing::Rests,
            };
        });
    }

    fn give_up(&self, job: &Arc<Job>) {
        self.change(|shared, state| {
            let mut standing = job.standing.lock();
            match *standing {
                Standing::Waits(ticket) => state.stop_waiting(shared, &job.flow, ticket),
                Standing::Granted(ticket) | Standing::Works(ticket) | Standing::WorksOn(ticket) => {
                    state.leave(shared, ticket, 0);
                }
                Standing::New | Standing::Rests | Standing::Over => {}
            }
            *standing = Standing::Over;
        });
    }

    /// How many places one tenant may have: but for one, all.
    fn most(&self) -> usize {
        self.places - 1
    }
}

impl State {
    fn line_up(&mut self, shared: &Shared, job: &Arc<Job>) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        let line = self.flows.entry(job.flow.clone()).or_default();
        if line.waiting.is_empty() && line.placed == 0 {
            line.had = line.had.max(self.now);
        }
        line.waiting.push_back((ticket, job.clone()));
        self.waiting += 1;
        self.stand(shared, &job.flow);
        ticket
    }

    fn stop_waiting(&mut self, shared: &Shared, flow: &Flow, ticket: Ticket) {
        if let Some(line) = self.flows.get_mut(flow) {
            let before = line.waiting.len();
            line.waiting.retain(|(waiting, _)| *waiting != ticket);
            self.waiting -= before - line.waiting.len();
        }
        self.stand(shared, flow);
        self.forget(flow);
    }

    fn leave(&mut self, shared: &Shared, ticket: Ticket, took: u64) {
        let Some(Placed { job, .. }) = self.placed.remove(&ticket) else { return };
        self.long -= usize::from(job.long);
        if let Some(line) = self.flows.get_mut(&job.flow) {
            (line.placed, line.had) = (line.placed - 1, line.had + took);
        }
        self.stand(shared, &job.flow);
        self.forget(&job.flow);
    }

    /// Puts a flow where it belongs among those that are ready.
    fn stand(&mut self, shared: &Shared, flow: &Flow) {
        let Some(line) = self.flows.get_mut(flow) else { return };
        if let Some(stands) = line.stands.take() {
            self.ready.remove(&stands);
        }
        if let Some((ticket, _)) = line.waiting.front().filter(|_| line.placed < shared.most()) {
            line.stands = Some((line.had, *ticket));
            self.ready.insert((line.had, *ticket), flow.clone());
        }
    }

    /// Gives places that are free to those whose turn it is.
    fn fill(&mut self, shared: &Shared) -> Vec<Arc<Job>> {
        let mut woken = Vec::new();
        if self.waiting > 0 {
            self.take_back(shared);
        }
        while self.placed.len() < shared.places {
            let Some((flow, at)) = self.ready.values().find_map(|flow| Some((flow.clone(), self.first(shared, flow)?)))
            else {
                break;
            };
            let Some(line) = self.flows.get_mut(&flow) else { break };
            let Some((ticket, job)) = line.waiting.remove(at) else { break };
            line.placed += 1;
            self.waiting -= 1;
            self.now = self.now.max(line.had);
            self.long += usize::from(job.long);
            *job.standing.lock() = Standing::Granted(ticket);
            self.placed.insert(ticket, Placed { job: job.clone(), granted: Some(shared.clock.now()) });
            self.stand(shared, &flow);
            woken.push(job);
        }
        woken
    }

    /// The first in a line who may have a place: what takes long lets others pass while enough of it is worked on.
    fn first(&self, shared: &Shared, flow: &Flow) -> Option<usize> {
        let full = self.long >= shared.long_places;
        self.flows.get(flow)?.waiting.iter().position(|(_, job)| !(job.long && full))
    }

    /// Takes places back that nobody has come for. Whoever comes later asks anew.
    fn take_back(&mut self, shared: &Shared) {
        let now = shared.clock.now();
        let late = |placed: &Placed| placed.granted.is_some_and(|granted| now.since(granted) > KEPT);
        let late: Vec<_> = self.placed.iter().filter(|(_, placed)| late(placed)).map(|(ticket, _)| *ticket).collect();
        for ticket in late {
            let Some(job) = self.placed.get(&ticket).map(|placed| placed.job.clone()) else { continue };
            self.leave(shared, ticket, 0);
            *job.standing.lock() = Standing::New;
        }
    }

    /// Forgets what an idle flow has had once nobody else is behind it; with nobody at work, what all have had.
    fn forget(&mut self, flow: &Flow) {
        let idle = |line: &Line| line.placed == 0 && line.waiting.is_empty();
        let now = self.now;
        if self.placed.is_empty() && self.ready.is_empty() {
            self.flows.retain(|_, line| !idle(line));
        } else if self.flows.get(flow).is_some_and(|line| idle(line) && line.had <= now) {
            self.flows.remove(flow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_store::clock::ManualClock;
    use futures::channel::oneshot;
    use futures::executor::LocalPool;
    use futures::future::FutureExt;
    use futures::task::LocalSpawnExt;

    struct World {
        processor: Processor,
        clock: ManualClock,
        /// What has been worked on, in that order.
        done: Arc<Mutex<Vec<&'static str>>>,
    }

    fn world(cores: u32) -> World {
        let clock = ManualClock::new(Timestamp::parse("2026-01-01T00:00:00Z").expect("a moment"));
        World { processor: Processor::new(cores, Arc::new(clock.clone())), clock, done: Arc::default() }
    }

    impl World {
        /// A future that waits to be told and then works for so long, and who tells it.
        fn job(&self, name: &'static str, long: bool, millis: u64) -> (oneshot::Sender<()>, Work<impl Future + use<>>) {
            let (tell, told) = oneshot::channel();
            let (clock, done) = (self.clock.clone(), self.done.clone());
            let work = self.processor.work(name.into(), long, async move {
                let _ = told.await;
                clock.advance(Duration::from_millis(millis));
                done.lock().push(name);
            });
            (tell, work)
        }

        /// Has so many of these jobs begun and wait to be told.
        fn begin(&self, pool: &mut LocalPool, jobs: &[(&'static str, bool, u64)]) -> Vec<oneshot::Sender<()>> {
            let mut tells = Vec::new();
            for (name, long, millis) in jobs {
                let (tell, job) = self.job(name, *long, *millis);
                pool.spawner().spawn_local(job.map(drop)).expect("a pool");
                tells.push(tell);
            }
            pool.run_until_stalled();
            tells
        }

        fn is_idle(&self) -> bool {
            let state = self.processor.0.state.lock();
            state.placed.is_empty()
                && state.ready.is_empty()
                && state.flows.is_empty()
                && state.long + state.waiting == 0
        }
    }

    fn go(tell: oneshot::Sender<()>) {
        assert!(tell.send(()).is_ok());
    }

    #[test]
    fn who_has_had_least_is_next_when_many_could_go_on() {
        let (world, mut pool) = (world(1), LocalPool::new());
        let mut jobs = vec![("noisy", false, 1); 5];
        jobs.push(("quiet", false, 1));
        // All of the noisy one could go on at once, as after a commit, and then the quiet one.
        world.begin(&mut pool, &jobs).into_iter().for_each(go);
        pool.run_until_stalled();
        assert_eq!(*world.done.lock(), ["noisy", "quiet", "noisy", "noisy", "noisy", "noisy"]);
        assert!(world.is_idle());
    }

    #[test]
    fn turns_are_by_the_time_that_was_spent() {
        let (world, mut pool) = (world(2), LocalPool::new());
        let jobs: Vec<_> = (0..40).flat_map(|_| [("slow", false, 9), ("fast", false, 3)]).collect();
        world.begin(&mut pool, &jobs).into_iter().for_each(go);
        pool.run_until_stalled();
        let slow = world.done.lock()[..40].iter().filter(|name| **name == "slow").count();
        assert!((9..=11).contains(&slow), "{slow} of 40 turns: its share is a quarter");
        assert!(world.is_idle());
    }

    #[test]
    fn what_takes_long_leaves_room_for_what_does_not() {
        let (world, mut pool) = (world(2), LocalPool::new());
        let jobs = [("huge", true, 20), ("huge", true, 20), ("huge", true, 20), ("huge", false, 1)];
        world.begin(&mut pool, &jobs).into_iter().for_each(go);
        // One of them has a place, and the others let the short one of the same tenant pass.
        let taken = |world: &World| {
            let state = world.processor.0.state.lock();
            (state.long, state.placed.len())
        };
        assert_eq!(taken(&world), (1, 2));
        pool.run_until_stalled();
        assert_eq!(world.done.lock().len(), 4);
        assert!(world.is_idle());
    }

    #[test]
    fn a_place_that_nobody_comes_for_is_given_to_somebody_else() {
        let (world, mut pool) = (world(1), LocalPool::new());
        let (tell, mut stalled) = world.job("acme", false, 1);
        assert!(stalled.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
        go(tell); // it has a place, and nobody polls it
        let second = world.begin(&mut pool, &[("acme", false, 1)]);
        assert!(world.done.lock().is_empty());
        second.into_iter().for_each(go);
        world.clock.advance(KEPT * 2);
        world.begin(&mut pool, &[("other", false, 1)]).into_iter().for_each(go);
        pool.run_until_stalled();
        assert_eq!(world.done.lock().len(), 2);
        assert!(stalled.now_or_never().is_some(), "it asks anew");
        assert!(world.is_idle());
    }

    #[test]
    fn who_is_dropped_gives_its_place_on() {
        let (world, mut pool) = (world(1), LocalPool::new());
        let (tell, mut first) = world.job("acme", false, 1);
        assert!(first.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
        go(tell);
        let (_, waits) = world.job("acme", false, 1);
        let mut waits = Box::pin(waits);
        assert!(waits.as_mut().now_or_never().is_none());
        world.begin(&mut pool, &[("acme", false, 1)]).into_iter().for_each(go);
        drop((waits, first));
        pool.run_until_stalled();
        assert_eq!(*world.done.lock(), ["acme"]);
        assert!(world.is_idle());
    }

    #[test]
    fn who_is_woken_while_it_works_is_not_forgotten() {
        let (world, mut pool) = (world(1), LocalPool::new());
        let mut turns = 0;
        let again = futures::future::poll_fn(move |context| {
            turns += 1;
            context.waker().wake_by_ref();
            if turns < 3 { Poll::Pending } else { Poll::Ready(turns) }
        });
        assert_eq!(pool.run_until(world.processor.work("acme".into(), false, again)), 3);
        assert!(world.is_idle());
    }
}
