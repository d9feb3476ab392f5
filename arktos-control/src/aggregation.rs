//! The `clusterrole-aggregation` controller: a cluster role that gathers others by their labels has their rules.
//!
//! The roles that all tenants have are gathered already (`admin`, `edit`, `view`), and exist once: a tenant gets a copy
//! of one only where it has a role of its own that is gathered into it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arktos_core::selector::LabelSelectorSpec;
use arktos_core::{LabelSelector, ObjectPath, Status, TenantName};
use arktos_store::client::Patch;
use arktos_store::{Client, Informer, Outcome, Query, Stored, Within};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::breath::Breath;
use crate::kinds::CLUSTER_ROLES;
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::Setup;
use crate::write::{found, is_terminating};

/// How many of a tenant's roles gather others; more are left as they are. Each may gather all, so that what they cost
/// together is not to grow without end.
const GATHERING_MAX: usize = 64;

/// How many rules a role may gather; one that would have more is left as it is.
const RULES_MAX: usize = 4096;

/// How many labels and rules are looked at for all of a tenant's roles together, and what one takes, in bytes read.
const STEPS_MAX: usize = 2_000_000;
const STEP: usize = 64;

/// With what the labels begin by which a role is gathered into one that all tenants have.
const INTO_SHARED: &str = "rbac.authorization.k8s.io/aggregate-to-";

pub(crate) struct Aggregation {
    client: Arc<dyn Client>,
    /// The roles that tenants have of their own.
    roles: Informer<Stored>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let roles = setup.informer(&CLUSTER_ROLES.resource);
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    roles.handle(move |event| {
        // A role may be gathered into any, and that into another: a tenant's are looked at together. They are few.
        adds.add(ObjectPath::new(event.path().tenant(), "", "clusterroles"));
    });
    let informers = vec![synced(&roles)];
    let controller = Aggregation { client: setup.client.clone(), roles };
    run(controller, queue, setup.options.workers, informers)
}

/// What is read of a cluster role.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Role {
    rules: Option<Vec<Value>>,
    aggregation_rule: Option<AggregationRule>,
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AggregationRule {
    cluster_role_selectors: Option<Vec<LabelSelectorSpec>>,
}

impl Role {
    /// One that cannot be read gives nothing and gathers nothing.
    fn of(stored: &Stored) -> Option<Self> {
        stored.object.parse().ok()
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// What it gathers; absent for a role that gathers nothing. A selector that makes no sense selects nothing.
    fn selectors(&self) -> Option<Vec<LabelSelector>> {
        let selectors = self.aggregation_rule.as_ref()?.cluster_role_selectors.as_deref().unwrap_or_default();
        Some(selectors.iter().filter_map(|selector| selector.selector().ok()).collect())
    }
}

/// The rules of roles that gather others, by their names: those that stand alone give them, and pass on as far as they
/// are gathered. Roles that gather each other end up with the same.
///
/// One that would have too many is left out; so are all where it takes too much to find out.
async fn gathered(roles: &BTreeMap<String, Role>) -> BTreeMap<&str, Vec<&Value>> {
    let mut work = Work::default();
    let mut gathering: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, role) in roles {
        let Some(selectors) = role.selectors().filter(|_| gathering.len() < GATHERING_MAX) else { continue };
        let selected = gathering.entry(name).or_default();
        for selector in &selectors {
            if !work.go_on(roles.len() * selector.requirements().len().max(1)).await {
                return BTreeMap::new();
            }
            let others = roles.iter().filter(|(other, _)| *other != name);
            selected.extend(
                others.filter(|(_, it)| selector.matches(|key| it.label(key))).map(|(other, _)| other.as_str()),
            );
        }
    }
    let own = roles.iter().map(|(name, role)| (name.as_str(), role.rules.iter().flatten().collect()));
    let own: BTreeMap<&str, Vec<&Value>> = own.collect();
    let mut rules: BTreeMap<&str, Vec<&Value>> = gathering.keys().map(|name| (*name, Vec::new())).collect();
    // Each round passes rules on by at least one role.
    for _ in 0..=gathering.len() {
        let mut settled = true;
        for (name, selected) in &gathering {
            let (mut all, mut known) = (Vec::new(), HashSet::new());
            for other in selected {
                let given = rules.get(other).or(own.get(other)).map_or(&[][..], Vec::as_slice);
                if !work.go_on(given.len()).await {
                    return BTreeMap::new();
                }
                let new = given.iter().copied().filter(|rule| known.insert(*rule));
                all.extend(new.take((RULES_MAX + 1).saturating_sub(all.len())));
            }
            if rules.get(name) != Some(&all) {
                rules.insert(*name, all);
                settled = false;
            }
        }
        if settled {
            break;
        }
    }
    rules.retain(|_, rules| rules.len() <= RULES_MAX);
    rules
}

/// What was looked at to gather a tenant's roles.
#[derive(Default)]
struct Work {
    steps: usize,
    breath: Breath,
}

impl Work {
    /// Whether so much more may be looked at.
    async fn go_on(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_add(steps);
        self.breath.after(steps.saturating_mul(STEP)).await;
        self.steps <= STEPS_MAX
    }
}

impl Reconcile for Aggregation {
    type Key = ObjectPath;
    const NAME: &'static str = "clusterrole-aggregation";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Ok(tenant) = TenantName::new(path.tenant()) else { return Ok(Outcome::Done) };
        let within = Within::Tenant(tenant);
        let concerns = |role: &Arc<Stored>| {
            role.object.header().labels().any(|(key, _)| key.starts_with(INTO_SHARED))
                || Role::of(role).is_some_and(|role| role.aggregation_rule.is_some())
        };
        if !self.roles.store().within(&within).iter().any(concerns) {
            return Ok(Outcome::Done);
        }
        // With what all tenants have.
        let listed = self.client.list(&Query::all(CLUSTER_ROLES.resource.clone(), within)).await?;
        let (mut roles, mut breath) = (BTreeMap::new(), Breath::default());
        for stored in &listed.items {
            breath.after(stored.object.tail_length()).await;
            if let Some(role) = Role::of(stored) {
                roles.insert(stored.path.name().to_owned(), role);
            }
        }
        let mut failed = None;
        for (name, rules) in gathered(&roles).await {
            let has = roles.get(name).and_then(|role| role.rules.as_deref()).unwrap_or_default();
            if has.iter().eq(rules.iter().copied()) {
                continue;
            }
            let key = CLUSTER_ROLES.key(&ObjectPath::new(path.tenant(), "", name));
            let rules = if rules.is_empty() { Value::Null } else { rules.into_iter().cloned().collect() };
            match found(self.client.patch(&key, None, Patch::Merge(json!({ "rules": rules }))).await) {
                Err(status) if is_terminating(&status) => return Ok(Outcome::Done),
                Err(status) => failed = Some(status), // the others have theirs all the same
                Ok(_) => {}
            }
        }
        failed.map_or(Ok(Outcome::Done), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;

    fn roles(all: Value) -> BTreeMap<String, Role> {
        serde_json::from_value(all).expect("roles")
    }

    fn shown(all: &BTreeMap<String, Role>, name: &str) -> Value {
        json!(block_on(gathered(all)).get(name).expect("gathers"))
    }

    #[test]
    fn rules_are_passed_on_in_the_order_of_names_and_once() {
        let by = |label: &str| json!({"clusterRoleSelectors": [{"matchLabels": {label: "yes"}}]});
        let all = roles(json!({
            "a-top": {"aggregationRule": by("to-top"), "rules": ["stale"]},
            "b-middle": {"aggregationRule": by("to-middle"), "metadata": {"labels": {"to-top": "yes"}}},
            "c": {"rules": ["three", "one"], "metadata": {"labels": {"to-top": "yes", "to-middle": "no"}}},
            "d": {"rules": ["one", "two"], "metadata": {"labels": {"to-middle": "yes"}}},
            "e": {"rules": ["never"]},
            "none": {"aggregationRule": {"clusterRoleSelectors": null}},
        }));
        assert_eq!(shown(&all, "b-middle"), json!(["one", "two"]));
        assert_eq!(shown(&all, "a-top"), json!(["one", "two", "three"]));
        assert_eq!(shown(&all, "none"), json!([]));
        assert_eq!(block_on(gathered(&all)).len(), 3);
    }

    #[test]
    fn a_role_that_would_have_too_many_rules_is_left_as_it_is() {
        let rules = |count: usize| (0..count).map(|at| json!(at)).collect::<Vec<_>>();
        let all = |count| {
            roles(json!({
                "a": {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"in": ""}}]}},
                "b": {"metadata": {"labels": {"in": ""}}, "rules": rules(count)},
            }))
        };
        assert_eq!(block_on(gathered(&all(RULES_MAX))).get("a").map(Vec::len), Some(RULES_MAX));
        assert_eq!(block_on(gathered(&all(RULES_MAX + 1))).get("a"), None);
    }

    /// What is taken away from one of them is kept by none for the other's sake.
    #[test]
    fn roles_that_gather_each_other_have_what_the_others_give() {
        let all = roles(json!({
            "a": {"aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [
                    {"key": "in", "operator": "Exists"}]}]},
                "metadata": {"labels": {"in": ""}}, "rules": ["gone", "one"]},
            "b": {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"in": ""}}]},
                "metadata": {"labels": {"in": ""}}, "rules": ["gone"]},
            "c": {"metadata": {"labels": {"in": ""}}, "rules": ["one"]},
        }));
        assert_eq!(shown(&all, "a"), json!(["one"]));
        assert_eq!(shown(&all, "b"), json!(["one"]));
    }

    #[test]
    fn what_takes_too_much_to_find_out_is_left_as_it_is() {
        let world = |selectors: usize| {
            let by: Vec<Value> = (0..selectors).map(|at| json!({"matchLabels": {"in": at.to_string()}})).collect();
            let mut all = roles(json!({"a": {"aggregationRule": {"clusterRoleSelectors": by}}}));
            for at in 0..1000 {
                let role = json!({"metadata": {"labels": {"in": "0"}}, "rules": [at]});
                all.insert(format!("r{at}"), serde_json::from_value(role).expect("a role"));
            }
            all
        };
        assert_eq!(block_on(gathered(&world(100))).get("a").map(Vec::len), Some(1000));
        assert_eq!(block_on(gathered(&world(10_000))).get("a"), None);
    }
}
