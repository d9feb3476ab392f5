//! Which controllers run, by the names and the syntax of kube-controller-manager's `--controllers`.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::Revision;
use tokio::sync::watch;

use crate::certificates::CertificateSigner;
use crate::kinds::Kinds;
use crate::network::NetworkTemplate;

/// The controllers of a partition, by name. Each is known by upstream's long name (`deployment-controller`) as well.
pub const PARTITION: &[&str] = &[
    "tenant",
    "namespace",
    "serviceaccount",
    "serviceaccount-token",
    "root-ca-certificate-publisher",
    "deployment",
    "replicaset",
    "replicationcontroller",
    "statefulset",
    "daemonset",
    "job",
    "cronjob",
    "ttl-after-finished",
    "disruption",
    "endpointslice",
    "endpointslicemirroring",
    "endpoints",
    "persistentvolumeclaim-protection",
    "persistentvolume-protection",
    "volumeattributesclass-protection",
    "resourcequota",
    "clusterrole-aggregation",
    "validatingadmissionpolicy-status",
    "garbage-collector",
    "csrapproving",
    "csrsigning",
    "csrcleaner",
];

/// The controllers of a resource manager, by name.
pub const RESOURCE_MANAGER: &[&str] =
    &["nodelifecycle", "garbage-collector", "csrapproving", "csrsigning", "csrcleaner"];

/// Other names upstream has, or had, for the same controllers.
const ALIASES: &[(&str, &str)] = &[
    ("endpoint", "endpoints"),
    ("endpointslice-mirroring", "endpointslicemirroring"),
    ("replication", "replicationcontroller"),
    ("pvc-protection", "persistentvolumeclaim-protection"),
    ("pv-protection", "persistentvolume-protection"),
    ("root-ca-cert-publisher", "root-ca-certificate-publisher"),
    ("garbagecollector", "garbage-collector"),
    ("garbage-collector-controller", "garbage-collector"),
    ("node-lifecycle-controller", "nodelifecycle"),
    ("node-lifecycle", "nodelifecycle"),
    ("certificatesigningrequest-approving", "csrapproving"),
    ("certificatesigningrequest-signing", "csrsigning"),
    ("certificatesigningrequest-cleaner", "csrcleaner"),
];

/// What controllers are told by their owner.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Which controllers run: names, `*` for all, `-name` for all but one. As upstream, whether a controller runs is
    /// said by its own name first, then by `*`.
    pub controllers: Vec<String>,
    /// The kinds there are. When its sender is gone, they stay as they are.
    pub kinds: Kinds,
    /// What `ca.crt` in each namespace's `kube-root-ca.crt` says, in PEM. Without it that controller has nothing to do.
    pub root_ca: Option<String>,
    /// Whether each service account is given a secret with a token, as old clients expect it. Default: no.
    pub token_secrets: bool,
    /// The name of the resource manager whose hosts these are: pods that are bound to another's are left alone.
    pub resource_manager: Option<String>,
    /// Signs certificates. Without it nothing is approved by itself, nor signed.
    pub signer: Option<Arc<dyn CertificateSigner>>,
    /// The network that each tenant is given. Default: none.
    pub network: Option<NetworkTemplate>,
    /// From which revision of the pool on the hosts of all resource managers are shown; nothing until they are. Absent:
    /// they are from the start, as where hosts are kept beside the pods.
    pub hosts: Option<watch::Receiver<Option<Revision>>>,
    /// How long a host may be silent before it counts as unreachable.
    pub node_monitor_grace_period: Duration,
    /// How many objects of a kind one controller works on at a time.
    pub workers: usize,
    /// How long a tenant, a deployment, a replica set and a daemon set rest after they were looked at: what becomes of
    /// their namespaces and pods meanwhile is looked at together. The first change after a pause is not held up.
    /// Default: not at all.
    pub rest: Duration,
}

/// A list of controllers that names one nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not in the list of known controllers: {}", known.join(", "))]
pub struct UnknownController {
    /// The name.
    pub name: String,
    /// The names there are.
    pub known: Vec<String>,
}

impl Options {
    /// All controllers, for these kinds.
    #[must_use]
    pub fn new(kinds: Kinds) -> Self {
        Self {
            controllers: vec!["*".to_owned()],
            kinds,
            root_ca: None,
            token_secrets: false,
            resource_manager: None,
            signer: None,
            network: None,
            hosts: None,
            node_monitor_grace_period: Duration::from_secs(40),
            workers: 32,
            rest: Duration::ZERO,
        }
    }

    /// The same options with a list of controllers as `--controllers` has it: `*,-job` or `namespace,deployment`.
    #[must_use]
    pub fn controllers(mut self, list: &str) -> Self {
        self.controllers = list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        self
    }

    /// The same options with the certificate authority that every namespace publishes.
    #[must_use]
    pub fn root_ca(mut self, pem: impl Into<String>) -> Self {
        self.root_ca = Some(pem.into());
        self
    }

    /// The same options with somebody who signs certificates.
    #[must_use]
    pub fn signer(mut self, signer: Option<Arc<dyn CertificateSigner>>) -> Self {
        self.signer = signer;
        self
    }

    /// The same options, giving each service account a secret with a token.
    #[must_use]
    pub fn token_secrets(mut self, wanted: bool) -> Self {
        self.token_secrets = wanted;
        self
    }

    /// The same options for the hosts of a resource manager of this name.
    #[must_use]
    pub fn resource_manager(mut self, name: impl Into<String>) -> Self {
        self.resource_manager = Some(name.into());
        self
    }

    /// The same options with the network that each tenant is given.
    #[must_use]
    pub fn network(mut self, template: Option<NetworkTemplate>) -> Self {
        self.network = template;
        self
    }

    /// The same options for a pool of hosts that says when it shows all of them.
    #[must_use]
    pub fn hosts(mut self, shown: Option<watch::Receiver<Option<Revision>>>) -> Self {
        self.hosts = shown;
        self
    }

    /// The same options with a rest for tenants, deployments, replica sets and daemon sets.
    #[must_use]
    pub fn rest(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// The names out of `known` that run.
    ///
    /// # Errors
    /// [`UnknownController`] for a name that is neither in [`PARTITION`] nor in [`RESOURCE_MANAGER`].
    pub fn selected(&self, known: &[&'static str]) -> Result<Vec<&'static str>, UnknownController> {
        let mut listed = Vec::new();
        for entry in &self.controllers {
            let (name, wanted) = entry.strip_prefix('-').map_or((entry.as_str(), true), |name| (name, false));
            if name != "*" {
                let name = canonical(name).ok_or_else(|| UnknownController {
                    name: name.to_owned(),
                    known: known_names().map(str::to_owned).collect(),
                })?;
                listed.push((name, wanted));
            }
        }
        let star = self.controllers.iter().any(|entry| entry == "*");
        let runs = |name: &str| listed.iter().find(|(listed, _)| *listed == name).map_or(star, |(_, wanted)| *wanted);
        Ok(known.iter().copied().filter(|name| runs(name)).collect())
    }
}

fn known_names() -> impl Iterator<Item = &'static str> {
    PARTITION.iter().chain(RESOURCE_MANAGER.iter().filter(|name| !PARTITION.contains(name))).copied()
}

/// The name we know a controller by, from any name upstream has for it.
fn canonical(name: &str) -> Option<&'static str> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    let find = |name: &str| known_names().find(|known| *known == name);
    find(name).or_else(|| name.strip_suffix("-controller").and_then(|short| canonical_short(short, find)))
}

fn canonical_short(short: &str, find: impl Fn(&str) -> Option<&'static str>) -> Option<&'static str> {
    find(short).or_else(|| ALIASES.iter().find(|(alias, _)| *alias == short).map(|(_, name)| *name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn selected(list: &str) -> Result<Vec<&'static str>, UnknownController> {
        let (_, none) = tokio::sync::watch::channel(Arc::from([]));
        Options::new(none).controllers(list).selected(PARTITION)
    }

    #[test]
    fn a_list_selects_as_upstream_does() {
        assert_eq!(selected("*").expect("known"), PARTITION);
        assert_eq!(selected("namespace,deployment").expect("known"), ["namespace", "deployment"]);
        assert_eq!(selected("namespace-controller, root-ca-certificate-publisher-controller").expect("known").len(), 2);
        assert!(!selected("*,-job").expect("known").contains(&"job"));
        assert_eq!(selected("*,-job").expect("known").len(), PARTITION.len() - 1);
        assert_eq!(selected("nodelifecycle").expect("known of the other role"), Vec::<&str>::new());
        assert_eq!(selected("-namespace").expect("known"), Vec::<&str>::new());
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let error = selected("*,-nmaespace").expect_err("a typo");
        assert!(
            error.to_string().starts_with("\"nmaespace\" is not in the list of known controllers: tenant, namespace")
        );
    }
}
