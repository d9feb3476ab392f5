//! Going round the partitions for the pods of one host: all are asked side by side, and one that does not answer
//! holds up neither the others nor, for long, the next host. Once it has let somebody wait, one host's pods are asked
//! for there at a time, until it answers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Reason, Status};
use arktos_store::{Client, Clock, Query, Roster, Stored};
use futures::FutureExt;
use futures::future::{Either, join_all, select};
use parking_lot::Mutex;

use crate::kinds::PODS;

/// How long a partition may take to say which pods of a host it has. They are few, and found by an index.
const PATIENCE: Duration = Duration::from_secs(10);

/// The partitions, and which of them do not answer.
pub(super) struct Rounds {
    partitions: Roster,
    clock: Arc<dyn Clock>,
    /// Those that did not answer the last time, by name, and whether one is being asked just now. Written by whoever
    /// asks.
    silent: Mutex<HashMap<String, bool>>,
}

impl Rounds {
    pub(super) fn new(partitions: Roster, clock: Arc<dyn Clock>) -> Self {
        Self { partitions, clock, silent: Mutex::default() }
    }

    /// Sees to the pods of a host in all partitions, and says what came of it in each.
    pub(super) async fn each<T, F>(
        &self,
        host: &str,
        see_to: impl Fn(Arc<dyn Client>, Vec<Stored>) -> F + Sync,
    ) -> Vec<(String, Result<T, Status>)>
    where
        T: Send,
        F: Future<Output = Result<T, Status>> + Send,
    {
        let (members, see_to) = (self.partitions.now(), &see_to);
        let one = |name: String, client: Arc<dyn Client>| async move {
            let seen = match self.pods(&name, &*client, host).await {
                Ok(pods) => see_to(client, pods).await,
                Err(status) => Err(status),
            };
            (name, seen)
        };
        join_all(members.present.iter().map(|(name, client)| one(name.clone(), client.clone()).boxed())).await
    }

    /// The pods of a host in one partition.
    async fn pods(&self, name: &str, client: &dyn Client, host: &str) -> Result<Vec<Stored>, Status> {
        let late = || Status::failure(Reason::Timeout, format!("the partition {name} does not answer"));
        let Some(asking) = self.ask(name) else { return Err(late()) };
        let query = Query::everywhere(PODS.resource.clone()).field("spec.nodeName", host);
        let listed = match select(client.list(&query), self.clock.sleep(PATIENCE)).await {
            Either::Left((listed, _)) => listed,
            Either::Right(_) => Err(late()),
        };
        match &listed {
            Err(status) if status.is(Reason::Timeout) || status.is(Reason::ServiceUnavailable) => {
                asking.was_in_vain(status);
            }
            _ => asking.was_answered(),
        }
        listed.map(|listing| listing.items)
    }

    /// Leave to ask a partition; none where it did not answer the last time, and somebody waits for it already.
    fn ask<'a>(&'a self, name: &'a str) -> Option<Asking<'a>> {
        let mut silent = self.silent.lock();
        let alone = match silent.get_mut(name) {
            Some(true) => return None,
            Some(asked) => {
                *asked = true;
                true
            }
            None => false,
        };
        Some(Asking { rounds: self, name, alone })
    }
}

/// Somebody asks a partition, until this is dropped.
struct Asking<'a> {
    rounds: &'a Rounds,
    name: &'a str,
    /// Nobody else does meanwhile.
    alone: bool,
}

impl Asking<'_> {
    fn was_answered(self) {
        if self.rounds.silent.lock().remove(self.name).is_some() {
            tracing::info!(partition = self.name, "a partition answers again: the pods of silent hosts are seen to");
        }
    }

    fn was_in_vain(self, status: &Status) {
        let mut silent = self.rounds.silent.lock();
        if !silent.contains_key(self.name) {
            silent.insert(self.name.to_owned(), false);
            drop(silent);
            let text = "a partition does not answer: the pods of silent hosts there wait until it does";
            tracing::warn!(partition = self.name, %status, "{text}");
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.alone
            && let Some(asked) = self.rounds.silent.lock().get_mut(self.name)
        {
            *asked = false;
        }
    }
}
