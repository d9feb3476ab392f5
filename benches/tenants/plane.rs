//! A region in this process, and tenants made as an administrator makes them.

use std::sync::Arc;

use arktos::control::ADMIN_BINDING;
use arktos::core::{GroupResource, ObjectPath, Revision, TypeMeta};
use arktos::store::client::WatchListEvent;
use arktos::store::{Delivery, Query};
use arktos::{Client, ControlPlane, Identity, Object};
use futures::StreamExt;

use crate::Outcome;

/// How many requests of the administrator are under way at a time.
const AT_ONCE: usize = 64;

/// The name of a tenant by its number.
pub fn name(number: usize) -> String {
    format!("tenant-{number:06}")
}

pub fn tenants() -> GroupResource {
    GroupResource::core("tenants")
}

/// A region in memory, with all controllers and no hosts.
pub async fn start() -> Outcome<(ControlPlane, Arc<dyn Client>)> {
    let plane = ControlPlane::builder().start().await?;
    let client = plane.client(Identity::system_component("administrator"));
    Ok((plane, client))
}

/// Makes tenants, and waits until each has what every tenant begins with.
pub async fn make(client: &Arc<dyn Client>, numbers: std::ops::Range<usize>) -> Outcome<()> {
    let count = numbers.len();
    // What is made before the watch is open counts as well.
    let from = client.list(&Query::object(tenants(), ObjectPath::new("", "", "system"))).await?.revision;
    let (accounts, bindings) = (GroupResource::core("serviceaccounts"), binding());
    let ready = futures::future::try_join(
        appear(client, accounts, from, 3 * count, |_| true),
        appear(client, bindings, from, count, |name| name == ADMIN_BINDING),
    );
    let making = futures::stream::iter(numbers)
        .map(|number| {
            let object = Object::new(&TypeMeta::new("", "v1", "Tenant"), &name(number));
            async move { client.create(&tenants(), "", "", object).await.map(drop) }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    let (made, ready) = futures::future::join(making, ready).await;
    made.into_iter().collect::<Result<(), _>>()?;
    ready.map(drop)
}

fn binding() -> GroupResource {
    GroupResource::new("rbac.authorization.k8s.io", "clusterrolebindings")
}

/// Waits until so many new objects have appeared.
async fn appear(
    client: &Arc<dyn Client>,
    resource: GroupResource,
    from: Revision,
    count: usize,
    counts: impl Fn(&str) -> bool,
) -> Outcome<()> {
    let mut events = client.watch(&Query::everywhere(resource), from).await?;
    let mut seen = 0;
    while seen < count {
        if let Delivery::Added(stored) = events.next().await.ok_or("the watch ended")?? {
            seen += usize::from(counts(stored.path.name()));
        }
    }
    Ok(())
}

/// Deletes tenants, and waits until the last of them is gone.
pub async fn delete(client: &Arc<dyn Client>, numbers: std::ops::Range<usize>) -> Outcome<()> {
    let mut left = numbers.len();
    let mut events = client.watch_list(&Query::everywhere(tenants())).await?;
    let gone = async {
        while left > 0 {
            let event = events.next().await.ok_or("the watch ended")??;
            left -= usize::from(matches!(event, WatchListEvent::Delivery(Delivery::Deleted(_))));
        }
        Outcome::Ok(())
    };
    let deleting = futures::stream::iter(numbers)
        .map(|number| {
            let key = arktos::ObjectKey::region_scoped(tenants(), &name(number));
            async move { client.delete(&key, arktos::store::client::DeleteOptions::default()).await }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    let (deleted, gone) = futures::future::join(deleting, gone).await;
    deleted.into_iter().collect::<Result<(), _>>()?;
    gone
}
