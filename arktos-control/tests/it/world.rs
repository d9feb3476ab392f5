//! A partition in memory: the API, the controllers, hosts that run what is bound to them, and a clock to move.

use std::sync::Arc;
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, Identity};
use arktos_control::{Options, StoredKind, partition};
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Scope, Status, Timestamp};
use arktos_store::client::{DeleteOptions, Propagation, WatchStream};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::{Client, Clock, Delivery, Engine, Query, Random, Within};
use futures::executor::{LocalPool, block_on};
use futures::task::LocalSpawnExt;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::api::Api;

pub struct World {
    /// The small server, to count its requests and to have it fail. Not asked when the world is on the road.
    pub api: Api,
    client: Arc<dyn Client>,
    on_the_road: bool,
    pub clock: ManualClock,
    kinds: tokio::sync::watch::Sender<Arc<[StoredKind]>>,
    pool: LocalPool,
}

impl World {
    /// A partition with the tenant `acme` and its namespace `default`, and these controllers.
    pub fn new(controllers: &str) -> Self {
        Self::with(controllers, kinds())
    }

    /// The same, of a server that has only these kinds.
    pub fn with_kinds(controllers: &str, resources: &[&str]) -> Self {
        Self::with(controllers, only(resources))
    }

    /// Changes which kinds the server has.
    pub fn set_kinds(&mut self, resources: &[&str]) {
        self.kinds.send_replace(only(resources));
    }

    /// Takes in kinds that tenants define, as the server's owner would.
    pub fn define_kinds(&mut self, defined: &[(&str, &str, Scope)]) {
        let defined = defined.iter().map(|(resource, kind, scope)| {
            StoredKind::defined(&GroupResource::from((*resource).to_owned()), kind, *scope)
        });
        let builtin = self.kinds.borrow().iter().filter(|kind| !kind.defined).cloned().collect::<Vec<_>>();
        self.kinds.send_replace(builtin.into_iter().chain(defined).collect());
    }

    /// A partition as [`new`](Self::new) makes it, in which deployments and replica sets rest.
    pub fn with_rest(controllers: &str, rest: Duration) -> Self {
        Self::told(kinds(), |options| options.controllers(controllers).rest(rest))
    }

    /// A partition as [`new`](Self::new) makes it, whose controllers are told something else.
    pub fn with_options(told: impl FnOnce(Options) -> Options) -> Self {
        Self::told(kinds(), told)
    }

    fn with(controllers: &str, kinds: Arc<[StoredKind]>) -> Self {
        Self::told(kinds, |options| options.controllers(controllers))
    }

    fn told(kinds: Arc<[StoredKind]>, told: impl FnOnce(Options) -> Options) -> Self {
        let (clock, random) = (new_clock(), Arc::new(SeededRandom::new(7)));
        let api = Api::new(Arc::new(clock.clone()), random.clone());
        let client: Arc<dyn Client> = Arc::new(api.clone());
        let mut world = Self::start(api, client, clock, random, kinds, told);
        world.create("tenants", "", "", json!({"metadata": {"name": "acme"}})).expect("a tenant");
        world.create("namespaces", "acme", "", json!({"metadata": {"name": "default"}})).expect("a namespace");
        world.settle();
        world
    }

    /// All controllers, on the real API server in process, with the tenant `acme`.
    pub fn on_the_road() -> Self {
        Self::on_the_road_with(|options| options)
    }

    /// The same, with controllers that are told something else.
    pub fn on_the_road_with(told: impl FnOnce(Options) -> Options) -> Self {
        let (clock, random) = (new_clock(), Arc::new(SeededRandom::new(7)));
        let (shared, drawn): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(clock.clone()), random.clone());
        let engine = Engine::memory(shared.clone());
        let server = ApiServer::new(ApiConfig::new(engine, shared.clone(), drawn.clone()));
        block_on(server.bootstrap()).expect("bootstraps");
        let client = server.client(Identity::system_component("test"));
        let kinds = Catalog::builtin()
            .kinds()
            .filter(|kind| kind.storage && kind.can("delete") && kind.can("list"))
            .map(|kind| StoredKind::new(&kind.storage_resource, &kind.kind, kind.scope))
            .collect();
        let mut world = Self::start(Api::new(shared, drawn), client, clock, random, kinds, told);
        world.on_the_road = true;
        world.settle();
        world.create("tenants", "", "", json!({"metadata": {"name": "acme"}})).expect("a tenant");
        world.settle();
        world
    }

    fn start(
        api: Api,
        client: Arc<dyn Client>,
        clock: ManualClock,
        random: Arc<dyn Random>,
        kinds: Arc<[StoredKind]>,
        told: impl FnOnce(Options) -> Options,
    ) -> Self {
        let (kinds, known) = tokio::sync::watch::channel(kinds);
        let options = Options::new(known).root_ca("-----BEGIN CERTIFICATE-----");
        let options = told(options.signer(Some(Arc::new(crate::certificates::Echo))));
        let futures = partition(client.clone(), Arc::new(clock.clone()), random, options).expect("known controllers");
        let pool = LocalPool::new();
        for (_, future) in futures {
            pool.spawner().spawn_local(future).expect("the pool runs");
        }
        Self { api, client, on_the_road: false, clock, kinds, pool }
    }

    /// Runs everything until nothing moves any more.
    pub fn settle(&mut self) {
        self.pool.run_until_stalled();
    }

    /// Moves the clock, a second at a time, and lets everything settle.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.settle();
        }
    }

    /// The hosts' part: binds and runs what waits, ends what is to go; again until there is nothing to do.
    pub fn run_pods(&mut self) {
        for _ in 0..100 {
            self.settle();
            let mut idle = true;
            for pod in self.list("pods", Within::Everywhere) {
                let path = path_of(&pod);
                if pod["metadata"].get("deletionTimestamp").is_some() {
                    let gone = DeleteOptions::default().grace_period_seconds(0);
                    let _ = block_on(self.client.delete(&key("pods", &path), gone));
                    idle &= pod["metadata"].get("finalizers").is_some();
                } else if pod["status"]["phase"] == "Pending" && pod["spec"].get("hang").is_none() {
                    self.bind(&path);
                    self.set_pod(&path, "Running", true);
                    idle = false;
                }
            }
            if idle {
                return self.settle();
            }
        }
        panic!("the pods never come to rest");
    }

    fn bind(&mut self, path: &str) {
        let host = made_for(&self.get("pods", path)).unwrap_or_else(|| "node-1".to_owned());
        if !self.on_the_road {
            return self.edit("pods", path, |pod| pod["spec"]["nodeName"] = json!(host));
        }
        let pod = key("pods", path);
        let target = json!({"apiVersion": "v1", "kind": "Node", "name": host});
        let binding = json!({"metadata": {"name": pod.path.name()}, "target": target});
        let binding = Object::from_value(binding).expect("an object");
        block_on(self.client.post(&pod, "binding", binding)).expect("binds");
    }

    /// Reports a pod's phase and readiness.
    pub fn set_pod(&mut self, path: &str, phase: &str, ready: bool) {
        let now = self.clock.now().to_string();
        let ready = if ready { "True" } else { "False" };
        let last = path.bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let ip = format!("10.0.{}.{last}", path.len());
        self.edit_status("pods", path, |pod| {
            pod["status"] = json!({
                "phase": phase, "podIP": ip, "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": now}],
            });
        });
    }

    pub fn create(&mut self, resource: &str, tenant: &str, namespace: &str, object: Value) -> Result<Value, Status> {
        let mut object = Object::from_value(object).expect("an object");
        if !object.fields.contains_key("kind") {
            let kind = kind_of(resource);
            object.fields.insert("kind".to_owned(), json!(kind.1));
            object.fields.insert("apiVersion".to_owned(), json!(kind.0));
        }
        let resource = GroupResource::from(resource.to_owned());
        let stored = block_on(self.client.create(&resource, tenant, namespace, object))?;
        Ok(stored.object.decode(Some(stored.revision)).expect("decodes").into_value())
    }

    /// An object by its path, `tenant/namespace/name`.
    pub fn find(&self, resource: &str, path: &str) -> Option<Value> {
        let stored = block_on(self.client.get(&key(resource, path))).ok()?;
        Some(stored.object.decode(Some(stored.revision)).expect("decodes").into_value())
    }

    pub fn get(&self, resource: &str, path: &str) -> Value {
        self.find(resource, path).unwrap_or_else(|| panic!("{resource} {path} is not there"))
    }

    pub fn list(&self, resource: &str, within: Within) -> Vec<Value> {
        let query = Query::all(GroupResource::from(resource.to_owned()), within);
        let listing = block_on(self.client.list(&query)).expect("lists");
        let value = |stored: &arktos_store::Stored| {
            let mut value = stored.object.decode(Some(stored.revision)).expect("decodes").into_value();
            value["path"] = json!(stored.path.as_str());
            value
        };
        listing.items.iter().map(value).collect()
    }

    /// The names of all objects of a resource.
    pub fn names(&self, resource: &str) -> Vec<String> {
        let all = self.list(resource, Within::Everywhere);
        all.iter().map(|object| object["path"].as_str().expect("a path").to_owned()).collect()
    }

    /// What happens to the objects of a resource from now on, in every tenant; see [`deletions`].
    pub fn watch(&self, resource: &str) -> WatchStream {
        let query = Query::everywhere(GroupResource::from(resource.to_owned()));
        let now = block_on(self.client.list(&query)).expect("lists").revision;
        block_on(self.client.watch(&query, now)).expect("watches")
    }

    pub fn edit(&mut self, resource: &str, path: &str, edit: impl FnOnce(&mut Value)) {
        self.write(resource, path, None, edit);
    }

    pub fn edit_status(&mut self, resource: &str, path: &str, edit: impl FnOnce(&mut Value)) {
        self.write(resource, path, Some("status"), edit);
    }

    fn write(&mut self, resource: &str, path: &str, part: Option<&str>, edit: impl FnOnce(&mut Value)) {
        let mut object = self.get(resource, path);
        edit(&mut object);
        let object = Object::from_value(object).expect("an object");
        block_on(self.client.update(&key(resource, path), part, object)).expect("updates");
    }

    /// Decides a request for a certificate.
    pub fn decide(&mut self, resource: &str, path: &str, conditions: Value) {
        self.write(resource, path, Some("approval"), |request| request["status"]["conditions"] = conditions);
    }

    /// Moves the clock at once, and lets everything settle.
    pub fn jump(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.settle();
    }

    pub fn delete(&mut self, resource: &str, path: &str, propagation: Option<Propagation>) {
        let mut options = DeleteOptions::default();
        options.propagation = propagation;
        block_on(self.client.delete(&key(resource, path), options)).expect("deletes");
    }

    /// Asks for a pod to be evicted.
    pub fn evict(&self, path: &str) -> Result<(), Status> {
        let pod = key("pods", path);
        let eviction = json!({"metadata": {"name": pod.path.name()}});
        let eviction = Object::from_value(eviction).expect("an object");
        block_on(self.client.post(&pod, "eviction", eviction)).map(drop)
    }

    /// What the events of a reason say, in order.
    pub fn events(&self, reason: &str) -> Vec<String> {
        let mut events = self.list("events", Within::Everywhere);
        events.retain(|event| event["reason"] == reason);
        events.sort_by_key(|event| {
            event["metadata"]["name"]
                .as_str()
                .map(|name| name.rsplit('.').next().and_then(|hex| u64::from_str_radix(hex, 16).ok()))
        });
        events.iter().map(|event| event["message"].as_str().expect("a message").to_owned()).collect()
    }
}

fn new_clock() -> ManualClock {
    ManualClock::new(Timestamp::parse("2026-11-23T10:00:00Z").expect("a time"))
}

pub fn key(resource: &str, path: &str) -> ObjectKey {
    ObjectKey { resource: GroupResource::from(resource.to_owned()), path: ObjectPath::parse(path).expect("a path") }
}

/// The paths of the objects that a watch has been told are gone, in that order.
pub fn deletions(watch: &mut WatchStream) -> Vec<String> {
    let told = std::iter::from_fn(|| watch.next().now_or_never().flatten());
    let gone = told.filter_map(|told| match told.expect("the watch goes on") {
        Delivery::Deleted(stored) => Some(stored.path.as_str().to_owned()),
        _ => None,
    });
    gone.collect()
}

pub fn path_of(object: &Value) -> String {
    object["path"].as_str().expect("a path").to_owned()
}

/// The host that a pod asks for by its name.
pub fn made_for(pod: &Value) -> Option<String> {
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].as_str().map(str::to_owned)
}

/// The condition of a type.
pub fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or(Value::Null)
}

/// A deployment named `web` with this many pods of this image.
pub fn deployment(replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    })
}

const KINDS: &[(&str, &str, &str, Scope)] = &[
    ("pods", "v1", "Pod", Scope::Namespace),
    ("services", "v1", "Service", Scope::Namespace),
    ("endpoints", "v1", "Endpoints", Scope::Namespace),
    ("events", "v1", "Event", Scope::Namespace),
    ("configmaps", "v1", "ConfigMap", Scope::Namespace),
    ("secrets", "v1", "Secret", Scope::Namespace),
    ("replicationcontrollers", "v1", "ReplicationController", Scope::Namespace),
    ("resourcequotas", "v1", "ResourceQuota", Scope::Namespace),
    ("persistentvolumeclaims", "v1", "PersistentVolumeClaim", Scope::Namespace),
    ("persistentvolumes", "v1", "PersistentVolume", Scope::Tenant),
    ("serviceaccounts", "v1", "ServiceAccount", Scope::Namespace),
    ("namespaces", "v1", "Namespace", Scope::Tenant),
    ("tenants", "v1", "Tenant", Scope::Region),
    ("tenantquotas.region.arktos.io", "region.arktos.io/v1", "TenantQuota", Scope::Region),
    ("nodes", "v1", "Node", Scope::Region),
    ("deployments.apps", "apps/v1", "Deployment", Scope::Namespace),
    ("replicasets.apps", "apps/v1", "ReplicaSet", Scope::Namespace),
    ("statefulsets.apps", "apps/v1", "StatefulSet", Scope::Namespace),
    ("daemonsets.apps", "apps/v1", "DaemonSet", Scope::Namespace),
    ("controllerrevisions.apps", "apps/v1", "ControllerRevision", Scope::Namespace),
    ("jobs.batch", "batch/v1", "Job", Scope::Namespace),
    ("cronjobs.batch", "batch/v1", "CronJob", Scope::Namespace),
    ("poddisruptionbudgets.policy", "policy/v1", "PodDisruptionBudget", Scope::Namespace),
    ("leases.coordination.k8s.io", "coordination.k8s.io/v1", "Lease", Scope::Namespace),
    ("endpointslices.discovery.k8s.io", "discovery.k8s.io/v1", "EndpointSlice", Scope::Namespace),
    (
        "certificatesigningrequests.certificates.k8s.io",
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        Scope::Tenant,
    ),
    ("clusterroles.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", "ClusterRole", Scope::Tenant),
    (
        "clusterrolebindings.rbac.authorization.k8s.io",
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        Scope::Tenant,
    ),
    (
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        Scope::Tenant,
    ),
];

fn kind_of(resource: &str) -> (&'static str, &'static str) {
    let kind = KINDS.iter().find(|(name, ..)| *name == resource).expect("a known resource");
    (kind.1, kind.2)
}

fn only(resources: &[&str]) -> Arc<[StoredKind]> {
    kinds().iter().filter(|kind| resources.contains(&kind.resource.as_str())).cloned().collect()
}

pub fn kinds() -> Arc<[StoredKind]> {
    let kind = |(resource, _, kind, scope): &(&str, &str, &str, Scope)| {
        StoredKind::new(&GroupResource::from((*resource).to_owned()), kind, *scope)
    };
    KINDS.iter().map(kind).collect()
}
