//! The driver of an informer: a complete state, then changes, for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectPath, Reason, Revision, Status, Timestamp};
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{Decode, Event, Gate, Handler, Newcomers, Progress, Store};
use crate::client::{Listing, Query, Source, WatchListEvent, WatchListStream, WatchStream};
use crate::clock::{Clock, Random};
use crate::select::{Delivery, Stored};
use crate::tasks::give_way;

/// The first wait after a failure; it doubles with each one that follows.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The longest wait that a source can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// A watch that has lived for so long ends the row of failures before it.
const HEALTHY: Duration = Duration::from_secs(10);
/// A watch that the source ends sooner than this is not opened anew at once, whatever it brought.
const SHORT: Duration = Duration::from_secs(1);
/// How long a source may say nothing at all while it streams its initial state. One that knows no such streams opens a
/// plain watch, and never says that the initial state has ended.
const INITIAL_SILENCE: Duration = Duration::from_secs(30);
/// How many objects are taken in before other futures of the owner get their turn.
const BATCH: usize = 256;
/// From so many failures in a row on, they are worth a warning.
const WORTH_A_WARNING: u32 = 3;

pub(super) struct Reflector<T> {
    pub(super) source: Arc<dyn Source>,
    pub(super) query: Query,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) silence: Duration,
    pub(super) resync: Option<Resync>,
    pub(super) store: Store<T>,
    pub(super) handlers: Vec<Handler<T>>,
    pub(super) gates: Vec<Arc<dyn Gate>>,
    pub(super) newcomers: Arc<Newcomers<T>>,
    pub(super) report: watch::Sender<Progress>,
}

/// When everything is handed to the handlers again.
pub(super) struct Resync {
    pub(super) every: Duration,
    pub(super) next: Option<BoxFuture<'static, ()>>,
}

/// Why a watch has ended.
enum Ended {
    /// History does not reach back far enough: a new list is needed.
    Expired,
    /// The source ended it, as servers do from time to time.
    Closed,
    /// The source has said nothing for too long. Whether it had said anything before.
    Silent(bool),
    /// It failed.
    Failed(Box<Status>),
}

/// A complete state, and its revision.
struct State {
    revision: Revision,
    items: BTreeMap<ObjectPath, Arc<Stored>>,
}

/// What there is to be taken in before a watch goes on, and the watch.
enum Initial {
    State(State, WatchStream),
    /// The source has no such streams.
    Refused(Box<Status>),
}

impl<T: Decode> Reflector<T> {
    pub(super) async fn run(mut self) {
        let mut position: Option<Revision> = None;
        let (mut failures, mut silences) = (0, 0);
        loop {
            self.take_over_newcomers();
            let opened = self.open(&mut position).await;
            let (since, after) = (self.clock.now(), position);
            let ended = match opened {
                Ok(stream) => self.follow(stream, &mut position).await,
                Err(ended) => ended,
            };
            let (lived, progressed) = (self.clock.now().since(since), position > after);
            if progressed || lived >= HEALTHY {
                failures = 0;
            }
            silences = if let Ended::Silent(false) = ended { silences + 1 } else { 0 };
            let mut at_least = Duration::ZERO;
            match ended {
                Ended::Closed if progressed && lived >= SHORT => continue,
                Ended::Closed => {}
                Ended::Expired => position = None,
                // Twice in a row without a word: the source may wait for a revision that it will never come to.
                Ended::Silent(_) if silences > 1 => position = None,
                Ended::Silent(_) => tracing::debug!(resource = %self.query.resource, "the watch has fallen silent"),
                Ended::Failed(status) => {
                    at_least = retry_after(&status);
                    self.say(failures, &status);
                }
            }
            self.report.send_modify(|progress| progress.current = false);
            self.wait(&mut failures, at_least).await;
        }
    }

    /// Opens a watch: from where the last one left off or, where there is nothing to go on from, from a complete new
    /// state, which it takes in first.
    async fn open(&mut self, position: &mut Option<Revision>) -> Result<WatchStream, Ended> {
        if let Some(after) = *position {
            return Ok(self.source.watch(&self.query, after).await?);
        }
        match self.initial().await? {
            Initial::State(state, stream) => {
                *position = Some(self.replace(state).await);
                Ok(stream)
            }
            Initial::Refused(status) => {
                tracing::debug!(resource = %self.query.resource, %status, "no initial state in watches: listed");
                let Listing { revision, items } = self.source.list(&self.query).await?;
                let items = items.into_iter().map(|stored| (stored.path.clone(), Arc::new(stored))).collect();
                let after = *position.insert(self.replace(State { revision, items }).await);
                Ok(self.source.watch(&self.query, after).await?)
            }
        }
    }

    /// Opens a stream that begins with everything there is, and collects that. Nobody is told of any of it before all
    /// of it is here.
    async fn initial(&mut self) -> Result<Initial, Ended> {
        let mut stream = match self.source.watch_list(&self.query).await {
            Ok(stream) => stream,
            Err(status) if is_refusal(&status) => return Ok(Initial::Refused(Box::new(status))),
            Err(status) => return Err(Ended::from(status)),
        };
        let mut patience = Patience::new(&self.clock, INITIAL_SILENCE.min(self.silence));
        let mut items = BTreeMap::new();
        let mut count = 0;
        let refused = |why| Ok(Initial::Refused(Box::new(Status::failure(Reason::NotImplemented, why))));
        loop {
            let event = tokio::select! {
                biased;
                event = stream.next() => event,
                () = patience.over() => return refused("the source does not say where its initial state ends"),
            };
            patience.heard();
            match event {
                Some(Ok(WatchListEvent::Delivery(Delivery::Added(stored) | Delivery::Modified(stored)))) => {
                    items.insert(stored.path.clone(), stored);
                }
                Some(Ok(WatchListEvent::Delivery(Delivery::Deleted(stored)))) => {
                    items.remove(&stored.path);
                }
                Some(Ok(WatchListEvent::Delivery(Delivery::Bookmark(_)))) => {
                    return refused("the source sends bookmarks, and has not said that its initial state has ended");
                }
                Some(Ok(WatchListEvent::InitialEnd(revision))) => {
                    return Ok(Initial::State(State { revision, items }, only_changes(stream)));
                }
                Some(Err(status)) if is_refusal(&status) => return Ok(Initial::Refused(Box::new(status))),
                Some(Err(status)) => return Err(Ended::from(status)),
                None => return Err(Ended::Closed),
            }
            count += 1;
            if count % BATCH == 0 {
                give_way().await;
            }
        }
    }

    /// Takes in what a watch delivers until it ends.
    async fn follow(&mut self, mut stream: WatchStream, position: &mut Option<Revision>) -> Ended {
        let newcomers = self.newcomers.clone();
        let mut patience = Patience::new(&self.clock, self.silence);
        let mut count = 0;
        loop {
            if self.pass_gates().await {
                patience.rest(); // it was not the source that kept us waiting
            }
            tokio::select! {
                biased;
                () = due(&mut self.resync, &self.clock) => {
                    self.tell_all_again().await;
                    patience.rest();
                }
                delivery = stream.next() => match delivery {
                    Some(Ok(delivery)) => {
                        patience.heard();
                        self.take_over_newcomers();
                        self.take(delivery, position);
                        count += 1;
                        if count % BATCH == 0 {
                            give_way().await;
                        }
                    }
                    Some(Err(status)) => return Ended::from(status),
                    None => return Ended::Closed,
                },
                () = newcomers.arrived.notified() => self.take_over_newcomers(),
                () = patience.over() => return Ended::Silent(patience.has_heard),
            }
        }
    }

    /// Takes in one delivery, unless it was delivered before.
    fn take(&mut self, delivery: Delivery, position: &mut Option<Revision>) {
        let revision = delivery.revision();
        let confirmed = matches!(delivery, Delivery::Bookmark(_));
        if *position < Some(revision) {
            match delivery {
                Delivery::Bookmark(_) => {}
                Delivery::Added(stored) | Delivery::Modified(stored) => self.put(&stored),
                Delivery::Deleted(stored) => self.remove(&stored.path),
            }
            *position = Some(revision);
        }
        self.contact(|progress| {
            progress.revision = progress.revision.max(revision);
            progress.current |= confirmed;
        });
    }

    /// Makes the local store what a complete state says, and tells the difference. Gives back the state's revision.
    async fn replace(&mut self, State { revision, items }: State) -> Revision {
        for (count, stored) in items.values().enumerate() {
            self.pass_gates().await;
            match self.store.stands(stored) {
                Some((known, true)) if known == stored.revision => {}
                Some((_, false)) => {
                    self.remove(&stored.path); // it was deleted, and made anew
                    self.put(stored);
                }
                _ => self.put(stored),
            }
            if count % BATCH == BATCH - 1 {
                give_way().await;
            }
        }
        let here = self.store.view();
        let gone = here.iter().map(|(path, _)| path).filter(|path| !items.contains_key(*path));
        for (count, path) in gone.enumerate() {
            self.pass_gates().await;
            self.remove(path);
            if count % BATCH == BATCH - 1 {
                give_way().await;
            }
        }
        self.take_over_newcomers();
        self.contact(|progress| {
            progress.synced = true;
            progress.current = true;
            progress.revision = revision;
        });
        revision
    }

    /// Hands everything that is here to the handlers again.
    async fn tell_all_again(&mut self) {
        let here = self.store.view();
        for (count, (path, value)) in here.iter().enumerate() {
            self.pass_gates().await;
            self.tell(&Event::Updated { path: path.clone(), old: value.clone(), new: value.clone() });
            if count % BATCH == BATCH - 1 {
                give_way().await;
            }
        }
    }

    /// Waits until everybody downstream has room for one more event. Says whether it had to wait.
    async fn pass_gates(&mut self) -> bool {
        let mut waited = false;
        for gate in &self.gates {
            while !gate.is_open() {
                waited = true;
                gate.opened().await;
            }
        }
        waited
    }

    fn put(&mut self, stored: &Arc<Stored>) {
        match T::share(stored) {
            Ok(value) => {
                let event = self.store.put(stored, value);
                self.tell(&event);
            }
            Err(error) => {
                let (resource, path) = (&self.query.resource, &stored.path);
                tracing::warn!(%resource, %path, %error, "an object cannot be read and is skipped");
            }
        }
    }

    fn remove(&mut self, path: &ObjectPath) {
        if let Some(event) = self.store.remove(path) {
            self.tell(&event);
        }
    }

    fn tell(&mut self, event: &Event<T>) {
        for handler in &mut self.handlers {
            handler(event);
        }
    }

    /// Tells handlers that came later what is here already, and keeps them.
    fn take_over_newcomers(&mut self) {
        let newcomers = std::mem::take(&mut *self.newcomers.handlers.lock());
        for mut handler in newcomers {
            for (path, value) in self.store.view().iter() {
                handler(&Event::Added { path: path.clone(), new: value.clone() });
            }
            self.handlers.push(handler);
        }
    }

    fn contact(&self, change: impl FnOnce(&mut Progress)) {
        let now = self.clock.now();
        self.report.send_modify(|progress| {
            progress.last_contact = Some(now);
            change(progress);
        });
    }

    fn say(&self, failures: u32, status: &Status) {
        let resource = &self.query.resource;
        if failures >= WORTH_A_WARNING {
            tracing::warn!(%resource, %status, failures, "cannot list or watch, and keeps trying");
        } else {
            tracing::debug!(%resource, %status, "the list or watch failed");
        }
    }

    /// Waits after a failure: not before the source wants to be asked again, the longer the more failures there were,
    /// and never just as long as the others do.
    async fn wait(&mut self, failures: &mut u32, at_least: Duration) {
        let longest = BACKOFF_FIRST.saturating_mul(1 << (*failures).min(16)).min(BACKOFF_MAX);
        *failures = failures.saturating_add(1);
        let half = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX) / 2;
        let wait = Duration::from_micros(half + self.random.next() % (half + 1));
        self.clock.sleep(at_least + wait).await;
    }
}

/// How long a source may say nothing.
struct Patience {
    clock: Arc<dyn Clock>,
    limit: Duration,
    since: Timestamp,
    has_heard: bool,
    timer: BoxFuture<'static, ()>,
}

impl Patience {
    fn new(clock: &Arc<dyn Clock>, limit: Duration) -> Self {
        Self { clock: clock.clone(), limit, since: clock.now(), has_heard: false, timer: clock.sleep(limit) }
    }

    fn heard(&mut self) {
        self.has_heard = true;
        self.since = self.clock.now();
    }

    /// Begins to wait anew.
    fn rest(&mut self) {
        self.since = self.clock.now();
    }

    /// Completes when the source has said nothing for too long. Cancel safe. The timer is set anew when it has run out,
    /// not with each word.
    async fn over(&mut self) {
        loop {
            (&mut self.timer).await;
            let silent = self.clock.now().since(self.since);
            self.timer = self.clock.sleep(self.limit.saturating_sub(silent));
            if silent >= self.limit {
                return;
            }
        }
    }
}

/// Completes when everything is to be told again. Cancel safe.
async fn due(resync: &mut Option<Resync>, clock: &Arc<dyn Clock>) {
    let Some(Resync { every, next }) = resync else { return std::future::pending().await };
    next.get_or_insert_with(|| clock.sleep(*every)).await;
    *next = None;
}

/// What follows the initial state, as any watch delivers it.
fn only_changes(stream: WatchListStream) -> WatchStream {
    let changes = stream.map(|event| {
        event.map(|event| match event {
            WatchListEvent::Delivery(delivery) => delivery,
            WatchListEvent::InitialEnd(revision) => Delivery::Bookmark(revision),
        })
    });
    changes.boxed()
}

/// Whether a source says by this that it does not stream its initial state.
fn is_refusal(status: &Status) -> bool {
    let reasons = [Reason::Invalid, Reason::BadRequest, Reason::MethodNotAllowed, Reason::NotImplemented];
    reasons.into_iter().any(|reason| status.is(reason))
}

fn retry_after(status: &Status) -> Duration {
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    Duration::from_secs(seconds.into()).min(RETRY_AFTER_MAX)
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        // A server that has gone back in time does not know the revision yet, and may never come to it.
        let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
        let from_the_future = causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge");
        if from_the_future
            || status.code == Reason::Gone.code()
            || status.is(Reason::Expired)
            || status.is(Reason::Gone)
        {
            Self::Expired
        } else {
            Self::Failed(Box::new(status))
        }
    }
}
