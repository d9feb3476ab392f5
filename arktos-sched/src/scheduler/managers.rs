//! The resource managers whose hosts pods are placed on: who joins, and who leaves for good.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arktos_store::informer::Stopped;
use arktos_store::{Client, Roster};
use futures::future::{self, AbortHandle, BoxFuture, abortable, select, try_join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::RwLock;

use super::{Drivers, Hosts, Watches};
use crate::hosts::ManagerId;

/// A resource manager's name, and its API.
type Manager = (Arc<str>, Arc<dyn Client>);

/// The resource managers that have joined, by their numbers. A number is never used again. Cloning it shares it.
#[derive(Clone, Default)]
pub(super) struct Managers(Arc<RwLock<BTreeMap<ManagerId, Manager>>>); // written by `Following`

impl Managers {
    pub(super) fn get(&self, manager: ManagerId) -> Option<Manager> {
        self.0.read().get(&manager).cloned()
    }
}

/// Keeps what is watched in step with who there is.
pub(super) struct Following {
    pub(super) watches: Watches,
    pub(super) managers: Managers,
    pub(super) roster: Roster,
    /// What is watched of those that have joined and have not left.
    pub(super) watched: HashMap<Arc<str>, Watched>,
    /// Names that were seen, whatever became of them.
    pub(super) met: HashMap<Arc<str>, ManagerId>,
}

/// What is watched of one resource manager, and how that ends.
pub(super) struct Watched {
    hosts: Hosts,
    ends: Vec<AbortHandle>,
}

impl Following {
    /// Takes in who has joined since the last time, and lets go of who has left; gives back what must run.
    pub(super) fn look(&mut self) -> Drivers {
        let members = self.roster.now();
        let mut drivers = Drivers::new();
        for (name, client) in &members.present {
            if !self.met.contains_key(name.as_str()) && !members.removed.contains(name) {
                self.join(name, client, &mut drivers);
            }
        }
        for name in &members.removed {
            if let (Some(watched), Some(manager)) = (self.watched.remove(name.as_str()), self.met.get(name.as_str())) {
                watched.ends.iter().for_each(AbortHandle::abort);
                self.watches.state.lock().manager_gone(*manager);
                self.watches.notify.changed.notify_one();
                tracing::info!(manager = name, "a resource manager was removed: its hosts get no more pods");
            }
        }
        drivers
    }

    fn join(&mut self, name: &str, client: &Arc<dyn Client>, drivers: &mut Drivers) {
        let name: Arc<str> = name.into();
        let Some(manager) = self.watches.state.lock().number(&name) else {
            tracing::error!(%name, "there are more resource managers than a scheduler can tell apart");
            return;
        };
        self.managers.0.write().insert(manager, (name.clone(), client.clone()));
        let (mut own, mut ends) = (Drivers::new(), Vec::new());
        let hosts = self.watches.manager(manager, client.clone(), &mut own);
        for (of, driver) in own {
            let (driver, end) = abortable(driver);
            ends.push(end);
            drivers.push((of, Box::pin(async move { driver.await.unwrap_or(()) })));
        }
        self.met.insert(name.clone(), manager);
        self.watched.insert(name, Watched { hosts, ends });
    }

    /// What there is of those that have joined until now.
    pub(super) fn hosts(&self) -> Vec<Hosts> {
        self.watched.values().map(|watched| watched.hosts.clone()).collect()
    }

    /// Follows for ever, and runs what is watched of those that join.
    pub(super) async fn run(mut self) {
        let mut running = FuturesUnordered::<BoxFuture<'static, ()>>::new();
        let mut roster = self.roster.clone();
        loop {
            running.extend(self.look().into_iter().map(|(_, driver)| driver));
            let changed = std::pin::pin!(roster.changed());
            let run = async {
                while running.next().await.is_some() {}
                future::pending::<()>().await;
            };
            select(changed, std::pin::pin!(run)).await;
        }
    }
}

/// Completes when all of this is there.
pub(super) async fn known(hosts: Vec<Hosts>) -> Result<(), Stopped> {
    let each = hosts.iter().map(|(nodes, claims)| future::try_join(nodes.synced(), claims.synced()));
    try_join_all(each).await.map(drop)
}
