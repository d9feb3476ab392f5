//! How a role takes part in the region's directory.

use std::sync::Arc;
use std::time::Duration;

use arktos_control::directory::{self, Contact, Registration};
use arktos_core::typed::{Member, MemberKind};
use arktos_core::{GroupResource, ObjectKey, Reason, TenantName};
use arktos_store::{Client, Clock, Random, Roster, Tasks};
use futures::future::{Either, select};
use tokio::sync::watch;

/// Another process that was heard of within this time is asked whether it is still there.
const HEARD: Duration = Duration::from_secs(30);
/// How long a start waits for that.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes a client of a member, from how it is reached, now and later.
pub type Reach = Arc<dyn Fn(watch::Receiver<Contact>) -> Arc<dyn Client> + Send + Sync>;

/// A role's ties with the directory.
#[derive(Clone)]
pub struct Membership {
    /// The directory.
    pub directory: Arc<dyn Client>,
    /// How members are reached.
    pub reach: Reach,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives jitter.
    pub random: Arc<dyn Random>,
}

impl Membership {
    /// The members of a kind, now and later. `tasks` is given what follows them.
    #[must_use]
    pub fn follow(&self, kind: MemberKind, tasks: &Tasks) -> Roster {
        let (directory, reach) = (self.directory.clone(), self.reach.clone());
        let make = move |contact: watch::Receiver<Contact>| reach(contact);
        let (members, driver) = directory::follow(kind, directory, make, &self.clock, &self.random);
        tasks.add(format!("directory: each {kind}"), driver);
        let (roster, driver) = directory::roster(members);
        tasks.add(format!("roster: each {kind}"), driver);
        roster
    }

    /// Makes sure that no other process serves this member now, as far as can be learnt within moments: where each has
    /// a store of its own, the one would give back what the other has claimed.
    ///
    /// # Errors
    /// A sentence that says where the other one is, and what to do.
    pub async fn alone(&self, kind: MemberKind, name: &str, url: &str) -> Result<(), String> {
        let others = std::pin::pin!(self.other(kind, name, url));
        match select(others, self.clock.sleep(PATIENCE)).await {
            Either::Left((Some(other), _)) => Err(format!(
                "another process serves the {kind} {name}, at {other}, and only over etcd there may be two: stop that \
                 one, or choose another --name"
            )),
            Either::Left((None, _)) | Either::Right(_) => Ok(()),
        }
    }

    /// Where another process answers for a member.
    async fn other(&self, kind: MemberKind, name: &str, url: &str) -> Option<String> {
        let stored = self.directory.get(&ObjectKey::region_scoped(kind.resource(), name)).await.ok()?;
        let member: Member = stored.object.parse().ok()?;
        let now = self.clock.now();
        for server in member.status.servers {
            let heard = server.heartbeat_time.is_some_and(|heard| now.since(heard.0) < HEARD);
            if !heard || server.url == url {
                continue;
            }
            let (servers, ca_bundle) = (vec![server.url.clone()], member.spec.ca_bundle.clone());
            let contact = Contact { name: name.to_owned(), servers, ca_bundle };
            let reached = (self.reach)(watch::channel(contact).1);
            let system = ObjectKey::region_scoped(GroupResource::core("tenants"), TenantName::SYSTEM);
            let answers = match reached.get(&system).await {
                Ok(_) => true,
                Err(status) => status.is(Reason::NotFound),
            };
            if answers {
                return Some(server.url);
            }
        }
        None
    }

    /// Registers this process as one that serves a member at `url`. `tasks` is given what says so again and again.
    pub fn register(&self, kind: MemberKind, name: &str, url: String, tasks: &Tasks) {
        let (directory, clock) = (self.directory.clone(), self.clock.clone());
        let registration = Registration { kind, name: name.to_owned(), url, directory, clock };
        tasks.add(format!("registration of {name}"), registration.run());
    }
}
