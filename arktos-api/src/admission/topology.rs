//! The zone and region of its host, as labels of a pod. (PodTopologyLabels)

use arktos_core::{GroupResource, Object, ObjectKey};
use arktos_store::Stored;

use crate::call::Call;

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// A host, if its labels are to be its pods' as well: the plugin runs, and the host is known here.
pub(crate) fn host(call: &Call<'_>, name: &str) -> Option<Stored> {
    if call.state.config.admission.runs("PodTopologyLabels") { known_host(call, name) } else { None }
}

/// A host, if it is known here.
pub(crate) fn known_host(call: &Call<'_>, name: &str) -> Option<Stored> {
    let config = &call.state.config;
    let nodes = GroupResource::core("nodes");
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let engine = config.delegates.get(&nodes).map_or(&config.engine, |delegate| &delegate.engine);
    engine.snapshot().get(&ObjectKey::region_scoped(nodes, name))
}

/// What of a host's labels its pods have, whatever they had.
pub(crate) fn labels(host: &Stored) -> impl Iterator<Item = (&str, &str)> {
    let header = host.object.header();
    LABELS.into_iter().filter_map(move |label| Some((label, header.label(label)?)))
}

/// Labels a new pod that has a host already.
pub(super) fn pod(call: &Call<'_>, pod: &mut Object) {
    let Some(host) = host(call, pod.str_at(&["spec", "nodeName"])) else { return };
    for (label, value) in labels(&host) {
        pod.set(&["metadata", "labels", label], value);
    }
}
