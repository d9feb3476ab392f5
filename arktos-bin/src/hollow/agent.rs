//! Drives one hollow host over a client of its resource manager.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, ObjectKey, ObjectPath, Reason, Revision, Status};
use arktos_store::client::{DeleteOptions, Patch, WatchStream};
use arktos_store::{Client, Clock, Query, Random};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, select_biased};

use super::host::{Action, Host};
use super::{HollowOptions, node};

/// How long an agent waits after its resource manager did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// A host, its options, and how it reaches its resource manager.
pub struct Agent {
    host: Host,
    options: HollowOptions,
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// What the host knows of its pods is as of this revision; absent where it does not know where to go on.
    seen: Option<Revision>,
}

impl Agent {
    /// An agent that has yet to register.
    #[must_use]
    pub fn new(
        host: Host,
        options: HollowOptions,
        client: Arc<dyn Client>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self { host, options, client, clock, random, seen: None }
    }

    /// Registers, then plays pods and sends heartbeats until dropped.
    pub async fn run(mut self) {
        while let Err(error) = self.register().await {
            tracing::debug!(host = self.host.name(), %error, "cannot register yet");
            self.clock.sleep(RETRY).await;
        }
        // Heartbeats of many hosts are spread over the period.
        let period = self.options.lease_period;
        let mut heartbeat = self.clock.sleep(period.mul_f64(unit(self.random.next()))).fuse();
        loop {
            let ended = match self.connect().await {
                Ok(stream) => self.follow(stream, &mut heartbeat).await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                if error.is(Reason::Expired) {
                    self.seen = None;
                }
                tracing::debug!(host = self.host.name(), %error, "cannot watch pods");
            }
            let mut pause = self.clock.sleep(RETRY).fuse();
            select_biased! {
                () = heartbeat => heartbeat = self.beat().await,
                () = pause => {}
            }
        }
    }

    async fn register(&self) -> Result<(), Status> {
        let (key, now) = (node::node_key(&self.host), self.clock.now());
        if let Some(object) = node::node(&self.host, &self.options, now) {
            match self.client.create(&key.resource, "", "", object).await {
                Err(error) if !error.is(Reason::AlreadyExists) => return Err(error),
                _ => {}
            }
        }
        let status = Patch::Strategic(node::status_patch(&self.host, &self.options, now));
        self.client.patch(&key, Some("status"), status).await?;
        self.renew().await
    }

    async fn renew(&self) -> Result<(), Status> {
        let (key, now) = (node::lease_key(&self.host), self.clock.now());
        match self.client.patch(&key, None, Patch::Merge(node::heartbeat(&self.host, now))).await {
            Err(error) if error.is(Reason::NotFound) => {
                let Some(lease) = node::lease(&self.host, now) else { return Err(error) };
                let (tenant, namespace, _) = key.path.parts();
                self.client.create(&key.resource, tenant, namespace, lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    async fn beat(&self) -> futures::future::Fuse<BoxFuture<'static, ()>> {
        if let Err(error) = self.renew().await {
            tracing::debug!(host = self.host.name(), %error, "a heartbeat was not taken");
        }
        self.clock.sleep(self.options.lease_period).fuse()
    }

    /// Opens a watch of its pods from where the last one ended or, where it cannot go on, lists them first.
    async fn connect(&mut self) -> Result<WatchStream, Status> {
        let query = Query::everywhere(GroupResource::core("pods")).field("spec.nodeName", self.host.name());
        if let Some(after) = self.seen {
            return self.client.watch(&query, after).await;
        }
        let listing = self.client.list(&query).await?;
        let actions = self.host.resync(&listing.items, self.clock.now());
        self.act(actions).await;
        let after = *self.seen.insert(listing.revision);
        self.client.watch(&query, after).await
    }

    /// Plays pods until the watch ends.
    ///
    /// # Errors
    /// What the watch has ended with, if it did not just end.
    async fn follow(
        &mut self,
        stream: WatchStream,
        heartbeat: &mut futures::future::Fuse<BoxFuture<'static, ()>>,
    ) -> Result<(), Status> {
        let mut stream = stream.fuse();
        loop {
            let now = self.clock.now();
            let mut due = match self.host.next_wake() {
                Some(moment) => self.clock.sleep(moment.since(now)).fuse(),
                None => futures::future::Fuse::terminated(),
            };
            let actions = select_biased! {
                delivery = stream.next() => match delivery {
                    Some(Ok(delivery)) => {
                        self.seen = Some(delivery.revision());
                        self.host.observe(&delivery, self.clock.now())
                    }
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                },
                () = due => self.host.wake(self.clock.now()),
                () = &mut *heartbeat => {
                    *heartbeat = self.beat().await;
                    Vec::new()
                }
            };
            self.act(actions).await;
        }
    }

    async fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            let (path, outcome) = match action.clone() {
                Action::Report { path, patch } => {
                    let sent = self.client.patch(&pod_key(&path), Some("status"), Patch::Strategic(patch)).await;
                    (path, sent.map(drop))
                }
                Action::Remove { path, uid } => {
                    let options = DeleteOptions::default().grace_period_seconds(0).uid(uid);
                    let sent = self.client.delete(&pod_key(&path), options).await;
                    (path, sent)
                }
            };
            match outcome {
                Ok(()) => {}
                // The pod has gone, or another one has its name: the watch will say so.
                Err(error) if error.is(Reason::NotFound) || error.is(Reason::Conflict) => {}
                Err(error) => {
                    tracing::debug!(host = self.host.name(), pod = %path, %error, "a report was not taken");
                    self.host.retry(action, self.clock.now());
                }
            }
        }
    }
}

fn pod_key(path: &ObjectPath) -> ObjectKey {
    ObjectKey { resource: GroupResource::core("pods"), path: path.clone() }
}

/// A random number as a fraction of one.
fn unit(random: u64) -> f64 {
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
