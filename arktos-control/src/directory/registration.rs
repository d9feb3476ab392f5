//! How a member says that it is there.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{KindOf, Member, MemberKind, MemberServer, MicroTime, Phase, TenantPlacement};
use arktos_core::{ObjectKey, Reason, Status, TenantName};
use arktos_store::{Client, Clock, Stored};

use crate::write::{found, unless_there, unreadable};

/// How often it says so.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How soon it says so again after the directory did not take it.
const AGAIN: Duration = Duration::from_secs(1);
/// After how long an address of which nothing was heard is taken off. It is back with the next heartbeat from there.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// How often somebody who was overtaken writes again.
const ATTEMPTS: usize = 5;

/// One process of a partition or a resource manager, as it registers.
pub struct Registration {
    /// What it is a process of.
    pub kind: MemberKind,
    /// The member's name.
    pub name: String,
    /// Where this process serves, as `https://host:port`.
    pub url: String,
    /// The directory.
    pub directory: Arc<dyn Client>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Why a process does not register any more.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// Its operator has removed the member it is a process of.
    #[error("it was removed from the region")]
    Removed,
    /// The directory did not take it.
    #[error("{0}")]
    Status(#[from] Status),
}

impl Registration {
    /// Registers, and says again and again that the process is there. Never ends, unless the member was removed.
    pub async fn run(self) {
        let (mut starts, mut refused) = (true, false);
        loop {
            let pause = match self.say(starts).await {
                Ok(()) => {
                    starts = false;
                    if std::mem::take(&mut refused) {
                        tracing::info!(name = self.name, "the directory takes heartbeats again");
                    }
                    HEARTBEAT
                }
                Err(Refused::Removed) => {
                    let (kind, name) = (self.kind, &self.name);
                    let text = "this member was removed from the region: stop it, and never use its name again";
                    tracing::error!(%kind, name, "{text}");
                    return;
                }
                Err(Refused::Status(status)) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::warn!(name = self.name, %status, "the directory does not take heartbeats");
                    }
                    AGAIN
                }
            };
            self.clock.sleep(pause).await;
        }
    }

    async fn say(&self, starts: bool) -> Result<(), Refused> {
        for _ in 0..ATTEMPTS {
            let stored = match found(self.directory.get(&self.key()).await)? {
                Some(stored) => stored,
                None => match unless_there(self.make().await)? {
                    Some(stored) => stored,
                    None => continue,
                },
            };
            let mut member: Member = stored.object.parse().map_err(unreadable)?;
            if member.spec.phase() == Phase::Removed {
                return Err(Refused::Removed);
            }
            member.metadata.resource_version = stored.revision.to_string();
            self.enter(&mut member, starts);
            match self.directory.update(&self.key(), Some("status"), self.kind.object(&member)).await {
                Err(status) if status.is(Reason::Conflict) || status.is(Reason::NotFound) => {}
                Err(status) => return Err(status.into()),
                Ok(_) if starts && self.kind == MemberKind::Partition => {
                    return Ok(self.stand_for_the_region().await?);
                }
                Ok(_) => return Ok(()),
            }
        }
        Err(Status::failure(Reason::Conflict, "others write the same entry of the directory").into())
    }

    async fn make(&self) -> Result<Stored, Status> {
        let mut member = Member::default();
        member.metadata.name.clone_from(&self.name);
        self.directory.create(&self.kind.resource(), "", "", self.kind.object(&member)).await
    }

    fn enter(&self, member: &mut Member, starts: bool) {
        let now = self.clock.now();
        let status = &mut member.status;
        if starts {
            status.epoch += 1;
        }
        status.servers.retain(|server| {
            server.heartbeat_time.is_some_and(|heard| now.since(heard.0) < FORGOTTEN) && server.url != self.url
        });
        let heartbeat_time = Some(MicroTime(now));
        status.servers.push(MemberServer { heartbeat_time, url: self.url.clone(), ..MemberServer::default() });
        status.servers.sort_by(|one, other| one.url.cmp(&other.url));
    }

    /// Each partition has a tenant `system` of its own. That of the first one stands for the region's.
    async fn stand_for_the_region(&self) -> Result<(), Status> {
        let first = TenantPlacement::first(TenantName::SYSTEM, &self.name).to_object();
        let made = self.directory.create(&TenantPlacement::resource(), "", "", first).await;
        unless_there(made).map(drop)
    }

    fn key(&self) -> ObjectKey {
        ObjectKey::region_scoped(self.kind.resource(), &self.name)
    }
}
