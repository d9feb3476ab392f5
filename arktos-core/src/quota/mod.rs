//! Resource quotas: what an object uses of the quotas of its namespace and its tenant, and which quotas are about it.
//!
//! | question | where |
//! |---|---|
//! | what does an object use | [`usage`] |
//! | is a quota about an object | [`Quota::covers`] |
//! | what may be created within a quota | [`Quota::charge`] |
//!
//! The API charges a quota in the commit that makes an object; the controller of resource quotas counts anew what there
//! is. Both count with these functions. Source of the names and of what counts: the quota evaluators of Kubernetes
//! 1.36.

mod pods;

pub(crate) use pods::of_containers;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::kind::GroupResource;
use crate::object::Object;
use crate::quantity::Quantity;
use crate::selector::LabelSelectorExpression;
use crate::time::Timestamp;

/// Amounts by the name a quota has for them, such as `requests.cpu` or `count/deployments.apps`.
pub type Amounts = BTreeMap<String, Quantity>;

/// Why an object may not be made within a quota, in the API's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Exceeded(String);

/// Whether a write of a resource, or of one of its subresources, can use a quota. Without an `old` object it is made.
#[must_use]
pub fn handles(resource: &GroupResource, subresource: &str, old: Option<&Object>, new: &Object) -> bool {
    match (resource.as_str(), subresource, old) {
        ("events" | "events.events.k8s.io", ..) => false,
        // It comes into the scope of other quotas.
        ("pods", "", Some(old)) => pods::is_terminating(old) != pods::is_terminating(new),
        ("pods", "resize", Some(_)) | ("services", _, Some(_)) | ("persistentvolumeclaims", "" | "status", Some(_)) => {
            true
        }
        (_, subresource, old) => subresource.is_empty() && old.is_none(),
    }
}

/// What an object uses. `now` tells whether the grace of a pod that is being deleted is over.
#[must_use]
pub fn usage(resource: &GroupResource, object: &Object, now: Timestamp) -> Amounts {
    let one = || Quantity::from_value(1);
    let mut amounts = Amounts::from([(count_name(resource), one())]);
    if let Some(alias) = alias(resource) {
        amounts.insert(alias.to_owned(), one());
    }
    match resource.as_str() {
        "pods" => pods::usage(object, now, &mut amounts),
        "services" => service(object, &mut amounts),
        "persistentvolumeclaims" => claim(object, &mut amounts),
        _ => {}
    }
    amounts
}

/// The name under which any object is counted.
fn count_name(resource: &GroupResource) -> String {
    format!("count/{resource}")
}

/// The names from before there was one for every resource.
fn alias(resource: &GroupResource) -> Option<&'static str> {
    Some(match resource.as_str() {
        "configmaps" => "configmaps",
        "resourcequotas" => "resourcequotas",
        "replicationcontrollers" => "replicationcontrollers",
        "secrets" => "secrets",
        _ => return None,
    })
}

/// Whether an amount that a quota limits is one that objects of a resource use.
fn is_about(resource: &GroupResource, name: &str) -> bool {
    if name == count_name(resource) || alias(resource) == Some(name) {
        return true;
    }
    match resource.as_str() {
        "pods" => pods::is_about(name),
        "services" => matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
        "persistentvolumeclaims" => {
            let name = name.split_once(BY_CLASS).map_or(name, |(_, name)| name);
            matches!(name, "persistentvolumeclaims" | "requests.storage")
        }
        _ => false,
    }
}

/// The resource whose objects use an amount; absent for a name that nobody counts.
#[must_use]
pub fn resource_of(name: &str) -> Option<GroupResource> {
    if let Some(resource) = name.strip_prefix("count/") {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        return Some(GroupResource::new(group, resource));
    }
    const KNOWN: [&str; 7] = [
        "pods",
        "services",
        "persistentvolumeclaims",
        "configmaps",
        "resourcequotas",
        "replicationcontrollers",
        "secrets",
    ];
    KNOWN.into_iter().map(GroupResource::core).find(|resource| is_about(resource, name))
}

fn service(service: &Object, amounts: &mut Amounts) {
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let numbered = ports.iter().filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0).count();
    let given = service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false));
    let (node_ports, balancers) = match service.str_at(&["spec", "type"]) {
        "NodePort" => (ports.len(), 0),
        "LoadBalancer" => (if given { ports.len() } else { numbered }, 1),
        _ => (0, 0),
    };
    let number = |number: usize| Quantity::from_value(i64::try_from(number).unwrap_or(i64::MAX));
    amounts.insert("services".to_owned(), number(1));
    amounts.insert("services.nodeports".to_owned(), number(node_ports));
    amounts.insert("services.loadbalancers".to_owned(), number(balancers));
}

/// Between the name of a storage class and what is counted of it.
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";

fn claim(claim: &Object, amounts: &mut Amounts) {
    const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let class = match claim.str_at(&["metadata", "annotations", OLD_CLASS]) {
        "" => claim.str_at(&["spec", "storageClassName"]),
        class => class,
    };
    let storage = |path: &[&str]| claim.at(path).and_then(Value::as_str).and_then(|text| Quantity::parse(text).ok());
    let asked = storage(&["spec", "resources", "requests", "storage"]);
    let given = storage(&["status", "allocatedResources", "storage"]);
    let used = [("persistentvolumeclaims", Some(Quantity::from_value(1))), ("requests.storage", asked.max(given))];
    for (name, amount) in used {
        let Some(amount) = amount else { continue };
        if !class.is_empty() {
            amounts.insert(format!("{class}{BY_CLASS}{name}"), amount.clone());
        }
        amounts.insert(name.to_owned(), amount);
    }
}

/// Reads amounts; what is none is left out.
fn amounts(value: Option<&Value>) -> Amounts {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), Quantity::parse(value.as_str()?).ok()?))).collect()
}

/// A quota, as its object says it.
#[derive(Debug)]
pub struct Quota<'a> {
    object: &'a Object,
    /// What was limited when it was last counted.
    hard: Amounts,
    /// What is used.
    used: Amounts,
}

impl<'a> Quota<'a> {
    /// Reads a `ResourceQuota`, or a `TenantQuota`, which says the same of a whole tenant.
    #[must_use]
    pub fn of(object: &'a Object) -> Self {
        Self { object, hard: amounts(object.at(&["status", "hard"])), used: amounts(object.at(&["status", "used"])) }
    }

    /// What the quota is to limit, whether or not that has been counted.
    #[must_use]
    pub fn wanted(&self) -> Amounts {
        amounts(self.object.at(&["spec", "hard"]))
    }

    /// What it is called in what a client is told: that of a whole tenant is not to be looked for in a namespace.
    fn called(&self) -> String {
        let tenant = self.object.str_at(&["kind"]) == "TenantQuota";
        format!("{}{}", if tenant { "TenantQuota " } else { "" }, self.object.name())
    }

    /// The amounts of `names` that are used by objects of a resource.
    fn about<'n>(&self, resource: &GroupResource, names: &'n Amounts) -> impl Iterator<Item = &'n str> + use<'n> {
        let resource = resource.clone();
        names.keys().map(String::as_str).filter(move |name| is_about(&resource, name))
    }

    /// Whether the quota's scopes see an object. A quota without scopes sees all.
    #[must_use]
    pub fn sees(&self, resource: &GroupResource, object: &Object) -> bool {
        scopes(self.object).iter().all(|scope| match resource.as_str() {
            "pods" => pods::in_scope(scope, object),
            "persistentvolumeclaims" => claim_in_scope(scope, object),
            _ => false,
        })
    }

    /// Whether the quota, as it was last counted, is about an object.
    #[must_use]
    pub fn covers(&self, resource: &GroupResource, object: &Object) -> bool {
        self.about(resource, &self.hard).next().is_some() && self.sees(resource, object)
    }

    /// What of an object's usage counts towards what the quota is to limit.
    #[must_use]
    pub fn counts(&self, resource: &GroupResource, object: &Object, now: Timestamp) -> Amounts {
        let wanted = self.wanted();
        let mut amounts = usage(resource, object, now);
        amounts.retain(|name, _| wanted.contains_key(name) && is_about(resource, name));
        if amounts.is_empty() || !self.sees(resource, object) { Amounts::new() } else { amounts }
    }

    /// The quota's `status.used` after a write; absent when the write does not change it.
    ///
    /// # Errors
    /// [`Exceeded`] when the object does not say what the quota asks for, or the quota has not enough left.
    pub fn charge(
        &self,
        resource: &GroupResource,
        old: Option<&Object>,
        new: &Object,
        now: Timestamp,
    ) -> Result<Option<Amounts>, Exceeded> {
        if !self.covers(resource, new) {
            return Ok(None);
        }
        let name = self.called();
        let about: Vec<&str> = self.about(resource, &self.hard).collect();
        if resource.as_str() == "pods" {
            pods::says_all(new, &about).map_err(|why| Exceeded(format!("failed quota: {name}: {why}")))?;
        }
        if !about.iter().all(|name| self.used.contains_key(*name)) {
            let why = format!("status unknown for quota: {name}, resources: {}", about.join(","));
            return Err(Exceeded(why));
        }
        let before = old.filter(|old| self.covers(resource, old)).map(|old| usage(resource, old, now));
        let mut more = usage(resource, new, now);
        for (name, amount) in &mut more {
            if let Some(before) = before.as_ref().and_then(|before| before.get(name)) {
                *amount = amount.minus(before);
            }
        }
        more.retain(|name, amount| self.hard.contains_key(name) && *amount > Quantity::from_value(0));
        if more.is_empty() {
            return Ok(None);
        }
        let mut used = self.used.clone();
        for (name, amount) in &more {
            let sum = used.get(name).map_or_else(|| amount.clone(), |used| used.plus(amount));
            used.insert(name.clone(), sum);
        }
        let over: Vec<&String> = more.keys().filter(|name| used[*name] > self.hard[*name]).collect();
        if over.is_empty() {
            return Ok(Some(used));
        }
        let shown = |amounts: &Amounts| {
            let amounts = over.iter().filter_map(|name| Some(format!("{name}={}", amounts.get(*name)?)));
            amounts.collect::<Vec<_>>().join(",")
        };
        Err(Exceeded(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            shown(&more),
            shown(&self.used),
            shown(&self.hard)
        )))
    }
}

/// A map of amounts, as an object has it.
#[must_use]
pub fn to_value(amounts: &Amounts) -> Value {
    let fields: Map<String, Value> =
        amounts.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect();
    Value::Object(fields)
}

/// One scope of a quota.
struct Scope {
    name: String,
    /// How its value is tested; absent where it must only be there.
    test: Option<LabelSelectorExpression>,
}

fn scopes(quota: &Object) -> Vec<Scope> {
    let plain = quota.at(&["spec", "scopes"]).and_then(Value::as_array).into_iter().flatten();
    let plain = plain.filter_map(Value::as_str).map(|name| Scope { name: name.to_owned(), test: None });
    let tests = quota.at(&["spec", "scopeSelector", "matchExpressions"]).and_then(Value::as_array);
    let tests = tests.into_iter().flatten().map(|test| {
        let text = |field: &str| test[field].as_str().unwrap_or_default().to_owned();
        let values = test["values"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let spec =
            LabelSelectorExpression { key: text("scopeName"), operator: text("operator"), values: values.collect() };
        Scope { name: text("scopeName"), test: (spec.operator != "Exists").then_some(spec) }
    });
    plain.chain(tests).collect()
}

impl Scope {
    /// Whether one of the values passes the scope's test. Without values, what a missing label would.
    fn admits(&self, values: &[&str]) -> bool {
        let Some(test) = &self.test else { return !values.is_empty() };
        let Ok(requirement) = test.requirement() else { return false };
        let holds = |value: Option<&str>| requirement.condition.holds(value);
        if values.is_empty() { holds(None) } else { values.iter().any(|value| holds(Some(value))) }
    }
}

fn claim_in_scope(scope: &Scope, claim: &Object) -> bool {
    if scope.name != "VolumeAttributesClass" {
        return false;
    }
    let names = [
        claim.str_at(&["spec", "volumeAttributesClassName"]),
        claim.str_at(&["status", "currentVolumeAttributesClassName"]),
        claim.str_at(&["status", "modifyVolumeStatus", "targetVolumeAttributesClassName"]),
    ];
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    scope.admits(&names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    fn quota(hard: Value, used: Value, spec: Value) -> Object {
        object(json!({"metadata": {"name": "q"}, "spec": spec, "status": {"hard": hard, "used": used}}))
    }

    fn now() -> Timestamp {
        Timestamp::parse("2026-01-01T00:00:00Z").expect("a moment")
    }

    fn pod(spec: Value) -> Object {
        object(json!({"metadata": {"name": "p"}, "spec": spec}))
    }

    #[test]
    fn a_pod_uses_what_its_containers_ask_for_or_an_init_container_that_asks_for_more() {
        let ask = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": "2"}}});
        let mut sidecar = ask("100m");
        sidecar["restartPolicy"] = json!("Always");
        let pod = pod(json!({"containers": [ask("200m"), ask("300m")], "initContainers": [sidecar, ask("1")],
            "overhead": {"cpu": "50m"}}));
        let used = usage(&GroupResource::core("pods"), &pod, now());
        assert_eq!(used["requests.cpu"].to_string(), "1150m");
        assert_eq!(used["cpu"].to_string(), "1150m");
        assert_eq!(used["limits.cpu"].to_string(), "6050m");
        assert_eq!(used["pods"].to_string(), "1");
        assert_eq!(used["count/pods"].to_string(), "1");
    }

    #[test]
    fn a_pod_that_has_ended_is_only_counted() {
        let mut ended = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}));
        ended.set(&["status", "phase"], "Failed");
        let used = usage(&GroupResource::core("pods"), &ended, now());
        assert_eq!(used.keys().collect::<Vec<_>>(), ["count/pods"]);
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_arithmetic() {
        let resource = GroupResource::core("pods");
        let quota =
            quota(json!({"requests.cpu": "1", "pods": "5"}), json!({"requests.cpu": "600m", "pods": "1"}), json!({}));
        let quota = Quota::of(&quota);
        let ask = |cpu: &str| pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}));
        let used = quota.charge(&resource, None, &ask("400m"), now()).expect("fits").expect("uses some");
        assert_eq!(to_value(&used), json!({"requests.cpu": "1", "pods": "2"}));
        let why = quota.charge(&resource, None, &ask("600m"), now()).expect_err("too much").to_string();
        assert_eq!(
            why,
            "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
        );
        let silent = pod(json!({"containers": [{"name": "main"}]}));
        let why = quota.charge(&resource, None, &silent, now()).expect_err("says nothing").to_string();
        assert_eq!(why, "failed quota: q: must specify requests.cpu for: main");
        let mut of_tenant = quota.object.clone();
        of_tenant.set(&["kind"], json!("TenantQuota"));
        let why = Quota::of(&of_tenant).charge(&resource, None, &silent, now()).expect_err("says nothing").to_string();
        assert_eq!(why, "failed quota: TenantQuota q: must specify requests.cpu for: main");
    }

    #[test]
    fn only_what_a_change_adds_is_charged() {
        let resource = GroupResource::core("services");
        let quota = quota(
            json!({"services": "1", "services.nodeports": "1"}),
            json!({"services": "1", "services.nodeports": "1"}),
            json!({}),
        );
        let quota = Quota::of(&quota);
        let service =
            |kind: &str| object(json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports": [{"port": 1}]}}));
        let (plain, outside) = (service("ClusterIP"), service("NodePort"));
        assert_eq!(quota.charge(&resource, Some(&outside), &outside, now()), Ok(None));
        assert_eq!(quota.charge(&resource, Some(&outside), &plain, now()), Ok(None));
        assert!(quota.charge(&resource, Some(&plain), &outside, now()).is_err());
        assert!(quota.charge(&resource, None, &plain, now()).is_err());
    }

    #[test]
    fn a_pod_that_is_given_a_deadline_is_charged_to_other_quotas() {
        let resource = GroupResource::core("pods");
        let plain = pod(json!({"containers": [{"name": "c"}]}));
        let ending = pod(json!({"containers": [{"name": "c"}], "activeDeadlineSeconds": 5}));
        assert!(handles(&resource, "", None, &plain) && handles(&resource, "", Some(&plain), &ending));
        assert!(handles(&resource, "", Some(&ending), &plain) && !handles(&resource, "", Some(&plain), &plain));
        let scope =
            json!({"scopeSelector": {"matchExpressions": [{"scopeName": "Terminating", "operator": "Exists"}]}});
        let (free, full) = (
            quota(json!({"pods": "1"}), json!({"pods": "0"}), scope.clone()),
            quota(json!({"pods": "1"}), json!({"pods": "1"}), scope),
        );
        let used = Quota::of(&free).charge(&resource, Some(&plain), &ending, now()).expect("fits").expect("uses one");
        assert_eq!(to_value(&used), json!({"pods": "1"}));
        assert!(Quota::of(&full).charge(&resource, Some(&plain), &ending, now()).is_err());
        assert_eq!(Quota::of(&full).charge(&resource, Some(&ending), &ending, now()), Ok(None));
    }

    #[test]
    fn scopes_choose_the_pods_that_count() {
        let resource = GroupResource::core("pods");
        let sees = |spec: Value, pod: &Object| {
            let quota = quota(json!({"pods": "1"}), json!({"pods": "0"}), spec);
            Quota::of(&quota).covers(&resource, pod)
        };
        let plain = pod(json!({"containers": [{"name": "c"}]}));
        let asks = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
            "activeDeadlineSeconds": 5, "priorityClassName": "high"}));
        for (scope, plain_counts, asking_counts) in [
            ("BestEffort", true, false),
            ("NotBestEffort", false, true),
            ("Terminating", false, true),
            ("NotTerminating", true, false),
            ("PriorityClass", false, true),
            ("CrossNamespacePodAffinity", false, false),
        ] {
            assert_eq!(sees(json!({"scopes": [scope]}), &plain), plain_counts, "{scope}");
            assert_eq!(sees(json!({"scopes": [scope]}), &asks), asking_counts, "{scope}");
        }
        let high = json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}});
        assert!(sees(high.clone(), &asks) && !sees(high, &plain));
        let secrets = GroupResource::core("secrets");
        let scoped = quota(json!({"secrets": "1"}), json!({"secrets": "0"}), json!({"scopes": ["BestEffort"]}));
        assert!(!Quota::of(&scoped).covers(&secrets, &plain));
    }
}
