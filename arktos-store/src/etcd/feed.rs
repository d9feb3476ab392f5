//! What anybody writes, as etcd tells of it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectKey, Timestamp};
use etcd_client::{Event, EventType, WatchOptions, WatchResponse, WatchStream};
use futures::FutureExt;
use futures::future::{Either, select};
use tokio::sync::watch;

use super::convert::{self, About, Keys};
use super::failed::{Failed, Why, reasons};
use super::load::{Newest, reached};
use super::members::{Members, Repeat};
use super::{ANSWER_MAX, Etcd};
use crate::codec::{Damaged, Reader};
use crate::commit::Change;
use crate::engine::Publisher;
use crate::storage::{Group, Record};

/// The first wait after a lost connection; it doubles with each failure that follows.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What etcd names as the watch in a sign of life that was asked for.
const SIGN_OF_LIFE: i64 = -1;

/// A watch of the store.
pub(super) struct Watch<'a> {
    stream: WatchStream,
    members: &'a Members,
    /// The member that it is at: while that is the one that is asked.
    place: usize,
    current: watch::Receiver<usize>,
}

/// Whole transactions, as they came in one message.
pub(super) struct Batch {
    /// What they wrote.
    pub group: Group,
    /// The revision of etcd of the last.
    pub until: i64,
    /// How many transactions there had been before the first of them, and with the last. Zero: nothing is said of it.
    pub transactions: (i64, i64),
}

/// Why a watch has ended.
enum Ended {
    /// What lies between is compacted, or did not arrive.
    Missed,
    /// Otherwise.
    Failed(String),
}

impl Etcd {
    /// Publishes what is written, until the store is closed.
    pub(super) async fn follow(&self, publisher: &Publisher) {
        let mut closing = self.closing.subscribe();
        let closed = pin!(closing.wait_for(|closing| *closing));
        let following = pin!(self.follow_for_ever(publisher));
        match select(closed, following).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    async fn follow_for_ever(&self, publisher: &Publisher) {
        let mut backoff = BACKOFF_FIRST;
        loop {
            let before = self.known.lock().position;
            let ended = self.follow_one(publisher).await;
            if self.known.lock().position > before {
                backoff = BACKOFF_FIRST;
            }
            match ended {
                Ended::Failed(why) => tracing::warn!(why, "the watch of etcd has ended, and is opened anew"),
                Ended::Missed => match self.load_newest().await {
                    Ok(loaded) => match publisher.reset(|restore| loaded.clone().fill(restore)) {
                        Ok(()) => {
                            tracing::warn!("writes were missed and can no longer be read: every watch begins anew");
                            self.known.lock().take_in(&loaded);
                            continue;
                        }
                        Err(error) => tracing::error!(%error, "etcd was not read"),
                    },
                    Err(error) => tracing::warn!(%error, "etcd was not read"),
                },
            }
            self.clock.sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Publishes what one watch tells, until it ends.
    async fn follow_one(&self, publisher: &Publisher) -> Ended {
        let opened = async {
            self.skip_what_is_not_ours(publisher).await?;
            let from = self.known.lock().position + 1;
            self.open(from).await
        };
        let mut watch = match opened.await {
            Ok(watch) => watch,
            Err(failed) => return Ended::Failed(failed.to_string()),
        };
        loop {
            let response = match watch.next().await {
                Ok(response) => response,
                Err(failed) => return Ended::Failed(failed.to_string()),
            };
            if response.canceled() {
                return match response.compact_revision() {
                    0 => Ended::Failed(format!("etcd has ended it: {}", response.cancel_reason())),
                    _ => Ended::Missed,
                };
            }
            if response.created() {
                continue;
            }
            let mut known = self.known.lock();
            let batch = match Batch::read(&self.keys, &mut known.reader, response.events()) {
                Ok(batch) => batch,
                Err(damage) => return Ended::Failed(format!("what it told is damaged: {damage}")),
            };
            // a message without events says how far etcd is
            let quiet = response.header().map_or(0, etcd_client::ResponseHeader::revision);
            let until = if response.events().is_empty() { quiet } else { batch.until };
            let shown = match publisher.show(&batch.group) {
                Ok(shown) => shown,
                Err(error) => return Ended::Failed(error.to_string()),
            };
            if !known.follows(batch.transactions) {
                return Ended::Missed;
            }
            known.note(&batch.group, until);
            drop(known);
            publisher.publish_shown(&shown);
            advance(publisher, until);
        }
    }

    /// Where nothing of this store was written since, goes on from where etcd is: so a quiet store in a busy cluster
    /// does not fall behind what others let etcd forget. As a read, it also gets a new token where the old one is no
    /// longer good, which a watch does not.
    async fn skip_what_is_not_ours(&self, publisher: &Publisher) -> Result<(), Failed> {
        let Newest { newest, last } = self.newest().await?;
        {
            let mut known = self.known.lock();
            if last > known.position || newest <= known.position {
                return Ok(());
            }
            known.position = newest;
        }
        advance(publisher, newest);
        Ok(())
    }

    /// A watch of the store from a revision of etcd on.
    pub(super) async fn open(&self, from: i64) -> Result<Watch<'_>, Failed> {
        let (first, end) = self.keys.watched();
        let options = WatchOptions::new().with_range(end).with_start_revision(from).with_progress_notify();
        let open = |client: etcd_client::Client| {
            let (first, options) = (first.clone(), options.clone());
            // a message may hold a thousand transactions, whatever their size
            let mut client = client.watch_client().max_decoding_message_size(ANSWER_MAX);
            async move { client.watch(first, Some(options)).await }
        };
        let stream = self.members.ask(Repeat::Harmless, open).await?;
        let mut current = self.members.current();
        let place = *current.borrow_and_update();
        Ok(Watch { stream, members: &self.members, place, current })
    }
}

impl Watch<'_> {
    /// The next message. When there is none for a while, asks for a sign of life; when there is none again, gives up.
    /// So it does when somebody else finds that the member does not answer.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Failed> {
        let mut asked = false;
        loop {
            let place = self.place;
            let message = tokio::select! {
                message = self.stream.message() => Some(message),
                () = self.members.patience() => None,
                () = self.current.wait_for(|current| *current != place).map(drop) => {
                    return Err(self.ended("another member is asked"));
                }
            };
            match message {
                // That sign of life may be ahead of what is still to be told (mended in etcd 3.4.25 and 3.5.8): it says
                // nothing of how far the watch is. Those that etcd sends unasked do.
                Some(Ok(Some(response))) if response.watch_id() == SIGN_OF_LIFE => asked = false,
                Some(Ok(Some(response))) => return Ok(response),
                Some(Ok(None)) => return Err(self.ended("etcd has closed the watch")),
                Some(Err(error)) => return Err(self.ended(&reasons(&error))),
                None if asked => return Err(self.ended("the member does not answer")),
                None => {
                    asked = true;
                    // room for it there is: nothing else is ever asked
                    self.stream.request_progress().await.map_err(|error| self.ended(&error.to_string()))?;
                }
            }
        }
    }

    fn ended(&self, why: &str) -> Failed {
        self.members.pass_over(self.place);
        Failed { why: Why::Unreached, text: why.to_owned() }
    }
}

/// Lets readers know that nothing more is to come up to a revision of etcd.
fn advance(publisher: &Publisher, until: i64) {
    if publisher.revision() < reached(until) {
        publisher.progress(reached(until));
    }
}

impl Batch {
    /// Reads the events of one message. They are in the order of their revisions and, within one, of the operations.
    pub(super) fn read(keys: &Keys, reader: &mut Reader, events: &[Event]) -> Result<Self, Damaged> {
        let mut group = Group { sync: true, ..Group::default() };
        let mut counters: BTreeMap<Arc<str>, i64> = BTreeMap::new();
        let (mut until, mut place, mut transactions) = (0, 0_u8, (0, 0));
        for event in events {
            let entry = event.kv().ok_or(Damaged("an event"))?;
            if entry.mod_revision() > until {
                (until, place) = (entry.mod_revision(), 0);
            }
            let deleted = event.event_type() == EventType::Delete;
            match keys.about(entry.key())? {
                About::Last if deleted => {}
                About::Last => {
                    group.time = Timestamp::from_micros(convert::number(entry.value())?);
                    let before = entry.version() - 1;
                    match transactions {
                        (0, 0) => transactions = (before, before + 1),
                        (_, last) if last == before => transactions.1 = before + 1,
                        _ => return Err(Damaged("all that was written")),
                    }
                }
                About::Counter(counter) => {
                    let value = if deleted { 0 } else { convert::number(entry.value())? };
                    counters.insert(counter, value);
                }
                About::Object(ObjectKey { resource, path }) => {
                    let key = ObjectKey { resource, path: path.clone() };
                    let (revision, change) = if deleted {
                        (convert::revision(until, place), Change::Delete)
                    } else {
                        let (stored, expires) = convert::stored(reader, path, entry)?;
                        (stored.revision, Change::Put { object: stored.object, expires })
                    };
                    group.records.push(Record { revision, key, change });
                    place = place.saturating_add(1);
                }
            }
        }
        group.counters = counters.into_iter().collect();
        Ok(Self { group, until, transactions })
    }
}
