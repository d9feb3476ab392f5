//! The driver of an informer: list, then watch, for ever.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectPath, Reason, Revision, Status, Timestamp};
use futures::StreamExt;
use futures::future::{Either, select};
use tokio::sync::watch;

use super::{Decode, Event, Gate, Handler, Newcomers, Progress, Store};
use crate::client::{Client, Listing, Query, WatchStream};
use crate::clock::{Clock, Random};
use crate::select::{Delivery, Stored};

/// The first wait after a failure; it doubles with each one that follows.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A watch that has lived for so long ends the row of failures before it.
const HEALTHY: Duration = Duration::from_secs(10);
/// How many objects of a list are taken in before other futures of the owner get their turn.
const BATCH: usize = 256;

pub(super) struct Reflector<T> {
    pub(super) client: Arc<dyn Client>,
    pub(super) query: Query,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) silence: Duration,
    pub(super) store: Store<T>,
    pub(super) handlers: Vec<Handler<T>>,
    pub(super) gates: Vec<Arc<dyn Gate>>,
    pub(super) newcomers: Arc<Newcomers<T>>,
    pub(super) report: watch::Sender<Progress>,
}

/// Why a watch has ended.
enum Ended {
    /// History does not reach back far enough: a new list is needed.
    Expired,
    /// The server ended it, as servers do from time to time.
    Closed,
    /// It failed.
    Failed(Box<Status>),
}

impl<T: Decode> Reflector<T> {
    pub(super) async fn run(mut self) {
        let mut position: Option<Revision> = None;
        let mut failures = 0;
        loop {
            self.take_over_newcomers();
            let after = match position {
                Some(revision) => revision,
                None => match self.client.list(&self.query).await {
                    Ok(listing) => *position.insert(self.replace(listing).await),
                    Err(status) => {
                        tracing::debug!(resource = %self.query.resource, %status, "the list failed");
                        self.wait(&mut failures).await;
                        continue;
                    }
                },
            };
            let since = self.clock.now();
            let ended = match self.client.watch(&self.query, after).await {
                Ok(stream) => self.follow(stream, &mut position).await,
                Err(status) => Ended::from(status),
            };
            let progressed = position > Some(after);
            if progressed || self.clock.now().since(since) >= HEALTHY {
                failures = 0;
            }
            match ended {
                Ended::Closed if progressed => continue,
                Ended::Closed => {}
                Ended::Expired => position = None,
                Ended::Failed(status) => tracing::debug!(resource = %self.query.resource, %status, "the watch failed"),
            }
            self.report.send_modify(|progress| progress.current = false);
            self.wait(&mut failures).await;
        }
    }

    /// Takes in what a watch delivers until it ends.
    async fn follow(&mut self, mut stream: WatchStream, position: &mut Option<Revision>) -> Ended {
        let newcomers = self.newcomers.clone();
        let mut silence = self.clock.sleep(self.silence);
        let mut heard: Option<Timestamp> = None;
        loop {
            self.pass_gates().await;
            let arrived = std::pin::pin!(newcomers.arrived.notified());
            match select(stream.next(), select(arrived, &mut silence)).await {
                Either::Left((Some(Ok(delivery)), _)) => {
                    heard = Some(self.clock.now());
                    self.take_over_newcomers();
                    self.take(delivery, position);
                }
                Either::Left((Some(Err(status)), _)) => return Ended::from(status),
                Either::Left((None, _)) => return Ended::Closed,
                Either::Right((Either::Left(_), _)) => self.take_over_newcomers(),
                Either::Right((Either::Right(_), _)) => {
                    let Some(last) = heard.take() else {
                        return Ended::from(Status::failure(Reason::Timeout, "the watch has been silent for too long"));
                    };
                    silence = self.clock.sleep(self.silence.saturating_sub(self.clock.now().since(last)));
                }
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

    /// Makes the local store what a list says, and tells the difference. Gives back the revision of the list.
    async fn replace(&mut self, listing: Listing) -> Revision {
        let mut listed: HashSet<ObjectPath> = HashSet::with_capacity(listing.items.len());
        for (count, stored) in listing.items.into_iter().enumerate() {
            self.pass_gates().await;
            listed.insert(stored.path.clone());
            match self.store.stands(&stored) {
                Some((revision, true)) if revision == stored.revision => {}
                Some((_, false)) => {
                    self.remove(&stored.path); // it was deleted, and made anew
                    self.put(&stored);
                }
                _ => self.put(&stored),
            }
            if count % BATCH == BATCH - 1 {
                give_way().await;
            }
        }
        let here = self.store.view();
        let gone = here.iter().map(|(path, _)| path).filter(|path| !listed.contains(*path));
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
            progress.revision = listing.revision;
        });
        listing.revision
    }

    /// Waits until everybody downstream has room for one more event.
    async fn pass_gates(&mut self) {
        for gate in &self.gates {
            while !gate.is_open() {
                gate.opened().await;
            }
        }
    }

    fn put(&mut self, stored: &Stored) {
        match T::decode(stored) {
            Ok(value) => {
                let event = self.store.put(stored, value);
                self.tell(&event);
            }
            Err(error) => {
                tracing::warn!(resource = %self.query.resource, path = %stored.path, %error, "an object was passed over");
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

    /// Waits after a failure: the longer the more there were, and never just as long as the others do.
    async fn wait(&mut self, failures: &mut u32) {
        let longest = BACKOFF_FIRST.saturating_mul(1 << (*failures).min(16)).min(BACKOFF_MAX);
        *failures = failures.saturating_add(1);
        let half = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX) / 2;
        let wait = Duration::from_micros(half + self.random.next() % (half + 1));
        self.clock.sleep(wait).await;
    }
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        if status.is(Reason::Expired) || status.is(Reason::Gone) {
            Self::Expired
        } else {
            Self::Failed(Box::new(status))
        }
    }
}

/// Lets the other futures of the owner have their turn.
pub(crate) async fn give_way() {
    let mut given = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
