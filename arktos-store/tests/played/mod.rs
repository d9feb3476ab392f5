//! A store that several processes share, played by the test.
#![allow(dead_code)] // each test uses its own part

use std::sync::Arc;

use arktos_core::{Revision, Timestamp};
use arktos_store::clock::ManualClock;
use arktos_store::commit::{Change, Commit, CommitError, Committed};
use arktos_store::engine::Publisher;
use arktos_store::storage::{Group, OpenError, Record, Restore, Storage};
use arktos_store::{Engine, EngineConfig, Selection, Stored, Within};
use async_trait::async_trait;
use tokio::sync::{Mutex, oneshot};

use crate::model::{key, object, path, resource};

/// A store at revision 10 with one object, which answers every commit at once with revision 20. What it feeds is up to
/// the test.
#[derive(Default)]
pub struct Played {
    publisher: Mutex<Option<oneshot::Sender<Publisher>>>,
}

#[async_trait]
impl Storage for Played {
    async fn load(&self, restore: &mut Restore) -> Result<(), OpenError> {
        let stored = Stored { path: path(1), revision: Revision(7), object: object(1, &(1, 1)) };
        restore.object(&resource(0), stored, None);
        restore.origin(Revision(10));
        Ok(())
    }

    async fn feed(&self, publisher: Publisher) {
        if let Some(publishers) = self.publisher.lock().await.take() {
            let _ = publishers.send(publisher);
        }
    }

    async fn commit(&self, _: Commit) -> Result<Committed, CommitError> {
        Ok(Committed { revisions: vec![Revision(20)], revision: Revision(20) })
    }

    async fn confirm(&self) -> Result<Revision, CommitError> {
        Ok(Revision(20))
    }
}

pub async fn open() -> (Engine, Publisher) {
    let (send, publisher) = oneshot::channel();
    let storage = Arc::new(Played { publisher: Mutex::new(Some(send)) });
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let (engine, driver) = Engine::shared(storage, EngineConfig::default(), clock).await.expect("opens");
    driver.await;
    (engine, publisher.await.expect("is fed"))
}

pub fn group(revision: u64, number: u8) -> Group {
    let change = Change::put(object(number, &(2, 2)));
    let record = Record { revision: Revision(revision), key: key(0, number), change };
    Group { records: vec![record], counters: vec![("ips".into(), 3)], ..Group::default() }
}

pub fn everything() -> Selection {
    Selection::all(resource(0), Within::Everywhere)
}
