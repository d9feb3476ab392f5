//! Where tenants live, as the directory of the region says it to a gateway.

use std::sync::Arc;
use std::time::Duration;

use arktos_control::directory::{self, Candidate, Contact, Members, Placements, Wish};
use arktos_core::typed::MemberKind;
use arktos_core::{GroupResource, Object, Status, TenantName};
use arktos_store::{Client, Clock, Random, Tasks};
use async_trait::async_trait;
use tokio::sync::watch;

use crate::net::forward::Forward;
use crate::net::route::Trust;
use crate::roles::gateway::{Backend, Backends, Directory};

/// How long a partition may be silent before new tenants are rather placed elsewhere.
const SILENCE: Duration = Duration::from_secs(35);

/// A directory that is followed, and what it says there is.
pub struct FollowedDirectory {
    partitions: watch::Receiver<Arc<Members<Backend>>>,
    placements: Placements,
    /// Written when members join or leave.
    backends: watch::Receiver<Arc<Backends>>,
    clock: Arc<dyn Clock>,
}

impl FollowedDirectory {
    /// Follows a directory. `itself` is how the gateway passes requests about it on; `trust` is the gateway's own.
    #[must_use]
    pub fn start(
        directory: &Arc<dyn Client>,
        itself: Backend,
        trust: &Trust,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
        tasks: &Tasks,
    ) -> Self {
        let follow = |kind: MemberKind| {
            let trust = trust.clone();
            let reach = move |contact: watch::Receiver<Contact>| {
                let member = Forward::member(contact, &trust);
                Backend::Remote(Box::new(match kind {
                    MemberKind::ResourceManager => member.called("the resource manager of these hosts"),
                    MemberKind::Partition => member,
                }))
            };
            let (members, driver) = directory::follow(kind, directory.clone(), reach, clock, random);
            tasks.add(format!("directory: each {kind}"), driver);
            members
        };
        let (partitions, managers) = (follow(MemberKind::Partition), follow(MemberKind::ResourceManager));
        let (placements, driver) = Placements::follow(directory.clone(), clock.clone(), random.clone());
        tasks.add("directory: tenants", driver);
        let (told, backends) = watch::channel(Arc::default());
        let (mut one, mut other) = (partitions.clone(), managers);
        tasks.add("directory: backends", async move {
            loop {
                let (partitions, managers) = (one.borrow_and_update().clone(), other.borrow_and_update().clone());
                let partitions = partitions.present.iter().map(|it| (it.name.clone(), it.reached.clone())).collect();
                let managers = managers.present.iter().map(|it| it.reached.clone()).collect();
                told.send_replace(Arc::new(Backends { partitions, managers, directory: Some(itself.clone()) }));
                let changed = tokio::select! {
                    changed = one.changed() => changed,
                    changed = other.changed() => changed,
                };
                if changed.is_err() {
                    return; // whoever follows was stopped
                }
            }
        });
        Self { partitions, placements, backends, clock: clock.clone() }
    }

    fn choose(&self, name: &str, wish: &Wish) -> Result<String, Status> {
        let (members, now) = (self.partitions.borrow().clone(), self.clock.now());
        let candidates = members.present.iter().map(|member| Candidate {
            name: &member.name,
            phase: member.phase,
            labels: &member.labels,
            answers: now.since(member.heard()) < SILENCE,
            tenants: self.placements.tenants_of(&member.name),
        });
        directory::choose(name, wish, candidates).map(str::to_owned)
    }
}

#[async_trait]
impl Directory for FollowedDirectory {
    fn backends(&self) -> Arc<Backends> {
        self.backends.borrow().clone()
    }

    fn changes(&self) -> bool {
        true
    }

    fn find(&self, tenant: &str) -> Option<String> {
        self.placements.find(tenant)
    }

    fn is_removed(&self, partition: &str) -> bool {
        self.partitions.borrow().removed.contains(partition)
    }

    async fn look_up(&self, tenant: &str) -> Result<Option<String>, Status> {
        self.placements.look_up(tenant).await
    }

    async fn expect(&self, tenant: &Object) -> Result<String, Status> {
        let wish = Wish::of(tenant)?;
        match self.look_up(tenant.name()).await? {
            Some(placed) => agree(tenant.name(), &wish, placed),
            None => self.choose(tenant.name(), &wish),
        }
    }

    async fn place(&self, tenant: &Object) -> Result<String, Status> {
        let wish = Wish::of(tenant)?;
        let name = TenantName::new(tenant.name()).map_err(|error| Status::bad_request(error.to_string()))?;
        let placed = self.placements.place(&name, || self.choose(tenant.name(), &wish)).await?;
        agree(tenant.name(), &wish, placed)
    }
}

/// 409 when a tenant has a place already, and asks for another one.
fn agree(tenant: &str, wish: &Wish, placed: String) -> Result<String, Status> {
    match &wish.partition {
        Some(asked) if *asked != placed => {
            let why = format!("it is placed in partition {placed:?}, and not in {asked:?}");
            Err(Status::conflict(&GroupResource::core("tenants"), tenant, &why))
        }
        _ => Ok(placed),
    }
}
