//! What anybody writes, as etcd tells of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectKey, Timestamp};
use etcd_client::{Event, EventType, WatchOptions, WatchStream};
use futures::future::{Either, select};

use super::Etcd;
use super::convert::{self, About, Keys};
use super::load::reached;
use crate::codec::{Damaged, Reader};
use crate::commit::Change;
use crate::engine::Publisher;
use crate::storage::{Group, Record};

/// The first wait after a lost connection; it doubles with each failure that follows.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Whole transactions, as they came in one message.
pub(super) struct Batch {
    /// What they wrote.
    pub group: Group,
    /// The revision of etcd of the last.
    pub until: i64,
}

/// Why a watch has ended.
enum Ended {
    /// What lies between is compacted.
    Compacted,
    /// Otherwise.
    Failed(String),
}

impl Etcd {
    /// Publishes what is written, until the store is closed.
    pub(super) async fn follow(&self, publisher: &Publisher) {
        let mut closing = self.closing.subscribe();
        let closed = std::pin::pin!(closing.wait_for(|closing| *closing));
        let following = std::pin::pin!(self.follow_for_ever(publisher));
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
                Ended::Compacted => match self.load_newest().await {
                    Ok(loaded) => {
                        tracing::warn!("etcd has forgotten what was missed: every watch begins anew");
                        self.known.lock().take_in(&loaded);
                        publisher.reset(|restore| loaded.fill(restore));
                        continue;
                    }
                    Err(error) => tracing::warn!(%error, "etcd was not read"),
                },
            }
            self.clock.sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Publishes what one watch tells, until it ends.
    async fn follow_one(&self, publisher: &Publisher) -> Ended {
        let from = self.known.lock().position + 1;
        let mut stream = match self.open(from).await {
            Ok(stream) => stream,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        loop {
            let response = match stream.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return Ended::Failed("etcd has closed it".to_owned()),
                Err(error) => return Ended::Failed(error.to_string()),
            };
            if response.canceled() {
                return match response.compact_revision() {
                    0 => Ended::Failed(response.cancel_reason().to_owned()),
                    _ => Ended::Compacted,
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
            known.note(&batch.group, until);
            drop(known);
            publisher.publish(&batch.group);
            if publisher.revision() < reached(until) {
                publisher.progress(reached(until));
            }
        }
    }

    /// A watch of the store from a revision of etcd on.
    pub(super) async fn open(&self, from: i64) -> Result<WatchStream, etcd_client::Error> {
        let (first, end) = self.keys.watched();
        let options = WatchOptions::new().with_range(end).with_start_revision(from).with_progress_notify();
        super::try_members(self.attempts, || {
            // a message may hold a thousand transactions, whatever their size
            let mut client = self.client.watch_client().max_decoding_message_size(i32::MAX as usize);
            let (first, options) = (first.clone(), options.clone());
            async move { client.watch(first, Some(options)).await }
        })
        .await
    }
}

impl Batch {
    /// Reads the events of one message. They are in the order of their revisions and, within one, of the operations.
    pub(super) fn read(keys: &Keys, reader: &mut Reader, events: &[Event]) -> Result<Self, Damaged> {
        let mut group = Group { sync: true, ..Group::default() };
        let mut counters: BTreeMap<Arc<str>, i64> = BTreeMap::new();
        let (mut until, mut place) = (0, 0_u8);
        for event in events {
            let entry = event.kv().ok_or(Damaged("an event"))?;
            if entry.mod_revision() > until {
                (until, place) = (entry.mod_revision(), 0);
            }
            let deleted = event.event_type() == EventType::Delete;
            match keys.about(entry.key())? {
                About::Last if deleted => {}
                About::Last => group.time = Timestamp::from_micros(convert::number(entry.value())?),
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
        Ok(Self { group, until })
    }
}
