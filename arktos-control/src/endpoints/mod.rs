//! What is behind a service: the `endpointslice` controller; the `endpoints` controller for clients that know only the
//! older kind; and the `endpointslicemirroring` controller for those that write the older kind by hand.

mod backends;
mod legacy;
mod mirror;
mod slices;

use arktos_core::ObjectPath;
use arktos_core::typed::LabelSelectorSpec;
use arktos_store::informer::Event;
use arktos_store::{Informer, WorkQueue};

use crate::pod::PodView;
use crate::selecting::Selecting;
use crate::service::ServiceView;
use crate::setup::Setup;

pub(crate) use legacy::start as start_legacy;
pub(crate) use mirror::start as start_mirror;
pub(crate) use slices::start as start_slices;

/// Services and the pods that may be behind them, and the queue of services to look at.
fn watch(setup: &mut Setup) -> (Informer<ServiceView>, Informer<PodView>, WorkQueue<ObjectPath>) {
    let (services, pods) = (setup.services(), setup.pods());
    let queue = crate::reconcile::queue(&setup.clock);
    let adds = queue.clone();
    services.handle(move |event| {
        adds.add(event.path().clone());
    });
    let selecting = Selecting::follow(&services, |service: &ServiceView| {
        let match_labels = (!service.is_foreign).then(|| service.selector.clone())?;
        Some(LabelSelectorSpec { match_labels, ..LabelSelectorSpec::default() })
    });
    let adds = queue.clone();
    pods.handle(move |event| pod_changed(&adds, &selecting, event));
    (services, pods, queue)
}

/// Queues the services that select a pod, as it was or as it is, when it looks different from there.
fn pod_changed(queue: &WorkQueue<ObjectPath>, services: &Selecting, event: &Event<PodView>) {
    if let Event::Updated { old, new, .. } = event
        && backends::looks_alike(old, new)
    {
        return;
    }
    let states = event.before().into_iter().chain(event.after()).map(|pod| pod.object().header());
    for service in services.may_select(event.path(), states) {
        queue.add(service);
    }
}
