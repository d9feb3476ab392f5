//! Roles and bindings: which rules apply to whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arktos_core::{Encoded, GroupResource, ObjectKey, ObjectPath, Revision, TenantName};
use arktos_store::{Engine, Snapshot, Stored, Within};
use dashmap::DashMap;
use serde::{Deserialize, Serialize};

use super::Attributes;
use super::static_roles::STATIC;
use crate::identity::{ELSEWHERE, Identity};

const GROUP: &str = "rbac.authorization.k8s.io";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// The roles that whoever is known in a tenant has there.
const OF_EVERYBODY: [&str; 3] = ["system:basic-user", "system:discovery", "system:public-info-viewer"];
/// How many decoded roles and bindings are kept, and how many texts their rules may have together: one of 3 MiB has a
/// million, which take ten times as much room.
const PARSED_MAX: usize = 16_384;
const PARSED_TEXTS_MAX: usize = 1 << 22;
/// One with more is read anew each time.
const KEPT_TEXTS_MAX: usize = 1 << 15;
/// How many texts are told of somebody's rules: a role counts as often as it is bound.
const TOLD_TEXTS_MAX: usize = 1 << 19;

/// One rule of a role: what it allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub(crate) non_resource_urls: Vec<String>,
}

/// Reads `null` as what is empty.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What is decoded of a role or a binding.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Parsed {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) rules: Vec<Rule>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) subjects: Vec<Subject>,
    pub(crate) role_ref: RoleRef,
}

/// Whom a binding is for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Subject {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// The role a binding gives.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RoleRef {
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// The roles and bindings of all tenants.
pub(crate) struct Rules {
    engine: Engine,
    /// Decoded roles and bindings by key. Written by whoever decodes one; bounded; counts only at its revision.
    parsed: DashMap<ObjectKey, (Revision, Arc<Parsed>)>,
    /// How many texts have been kept since all were forgotten. Written by the same.
    texts: AtomicUsize,
}

impl Rules {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, parsed: DashMap::new(), texts: AtomicUsize::new(0) }
    }

    /// Why a tenant's rules allow something.
    ///
    /// # Errors
    /// They do not; then it is said which roles they name that are not there, if any.
    pub(crate) fn allowing(
        &self,
        who: &Identity,
        tenant: &TenantName,
        asked: &Attributes<'_>,
    ) -> Result<String, String> {
        let mut found = None;
        let lost = self.visit(who, tenant, asked.namespace, |rules, reason| {
            if rules.iter().any(|rule| rule.allows(asked)) {
                found = Some(reason());
            }
            found.is_none()
        });
        found.ok_or_else(|| told(lost).map_or_else(String::new, |lost| format!("RBAC: {lost}")))
    }

    /// Why a tenant lets somebody of another tenant find out what it serves, and what they may: as it lets its own,
    /// once any of its bindings names them. Without that no client could use what it is given.
    pub(super) fn welcoming(&self, who: &Identity, tenant: &TenantName, asked: &Attributes<'_>) -> Option<String> {
        let snapshot = self.engine.snapshot();
        let allows = |role: &Parsed| role.rules.iter().any(|rule| rule.allows(asked));
        let given = OF_EVERYBODY
            .into_iter()
            .find(|name| self.cluster_role(&snapshot, tenant, name).is_some_and(|role| allows(&role)))?;
        let within = Within::Tenant(tenant.clone());
        let invited = |resource: &str| {
            let bindings = GroupResource::new(GROUP, resource);
            let mut all = snapshot.range(&bindings, &within, None);
            all.any(|stored| {
                let binding = self.parse(&bindings, &stored);
                binding.subjects.iter().any(|subject| subject.is(who, tenant, stored.path.namespace(), &snapshot))
            })
        };
        let invited = invited("clusterrolebindings") || invited("rolebindings");
        invited.then(|| format!("RBAC: allowed as ClusterRole {given:?} to who has any role of another tenant's"))
    }

    /// The rules that apply to someone in a namespace of a tenant (and everywhere in it), and which roles are named
    /// that are not there. Of very many, only the first.
    pub(crate) fn of(&self, who: &Identity, tenant: &TenantName, namespace: &str) -> (Vec<Rule>, Option<String>) {
        let (mut all, mut texts) = (Vec::new(), 0);
        let mut lost = self.visit(who, tenant, namespace, |rules, _| {
            texts += rules.iter().map(Rule::texts).sum::<usize>();
            if texts <= TOLD_TEXTS_MAX {
                all.extend_from_slice(rules);
            }
            texts <= TOLD_TEXTS_MAX
        });
        if texts > TOLD_TEXTS_MAX {
            lost.insert(0, "there are more rules than can be told".to_owned());
        }
        (all, told(lost))
    }

    /// Shows each set of rules that applies, with why, until it is told to stop. Gives back the roles that are named
    /// and not there.
    fn visit(
        &self,
        who: &Identity,
        tenant: &TenantName,
        namespace: &str,
        mut show: impl FnMut(&[Rule], &dyn Fn() -> String) -> bool,
    ) -> Vec<String> {
        let snapshot = self.engine.snapshot();
        let mut lost = Vec::new();
        // What all tenants are given is given at home, and to the region's own.
        let given = who.tenant.as_ref() == Some(tenant) || who.is_system();
        for (name, binding) in STATIC.bindings_for(&who.user).filter(|_| given) {
            let Some(subject) = binding.subjects.iter().find(|subject| subject.names(who, "")) else { continue };
            let Some(rules) = self.cluster_role(&snapshot, tenant, &binding.role_ref.name) else { continue };
            if !show(&rules.rules, &|| reason("ClusterRoleBinding", name, binding, subject)) {
                return lost;
            }
        }
        let bindings = GroupResource::new(GROUP, "clusterrolebindings");
        for stored in snapshot.range(&bindings, &Within::Namespace(tenant.clone(), String::new()), None) {
            let binding = self.parse(&bindings, &stored);
            let Some(subject) = binding.subjects.iter().find(|subject| subject.is(who, tenant, "", &snapshot)) else {
                continue;
            };
            let Some(rules) = self.cluster_role(&snapshot, tenant, &binding.role_ref.name) else {
                lost.push(nowhere("ClusterRole", &binding.role_ref.name));
                continue;
            };
            if !show(&rules.rules, &|| reason("ClusterRoleBinding", stored.path.name(), &binding, subject)) {
                return lost;
            }
        }
        if namespace.is_empty() {
            return lost;
        }
        for (name, binding) in STATIC.bindings_in(namespace).filter(|_| given) {
            let Some(subject) = binding.subjects.iter().find(|subject| subject.names(who, namespace)) else { continue };
            let Some(rules) = self.role(&snapshot, tenant, namespace, &binding.role_ref) else { continue };
            if !show(&rules.rules, &|| reason("RoleBinding", &format!("{name}/{namespace}"), binding, subject)) {
                return lost;
            }
        }
        let bindings = GroupResource::new(GROUP, "rolebindings");
        for stored in snapshot.range(&bindings, &Within::Namespace(tenant.clone(), namespace.to_owned()), None) {
            let binding = self.parse(&bindings, &stored);
            let subject = binding.subjects.iter().find(|subject| subject.is(who, tenant, namespace, &snapshot));
            let Some(subject) = subject else { continue };
            let Some(rules) = self.role(&snapshot, tenant, namespace, &binding.role_ref) else {
                lost.push(nowhere(&binding.role_ref.kind, &binding.role_ref.name));
                continue;
            };
            let name = format!("{}/{namespace}", stored.path.name());
            if !show(&rules.rules, &|| reason("RoleBinding", &name, &binding, subject)) {
                return lost;
            }
        }
        lost
    }

    /// The rules of the role that a reference in a namespace (empty: in none) names.
    pub(crate) fn role_rules(&self, tenant: &TenantName, namespace: &str, role: &RoleRef) -> Option<Vec<Rule>> {
        self.role(&self.engine.snapshot(), tenant, namespace, role).map(|role| role.rules.clone())
    }

    fn role(&self, at: &Snapshot, tenant: &TenantName, namespace: &str, role: &RoleRef) -> Option<Arc<Parsed>> {
        if role.kind == "ClusterRole" {
            return self.cluster_role(at, tenant, &role.name);
        }
        if role.name.contains('/') {
            return None;
        }
        self.stored(at, GroupResource::new(GROUP, "roles"), ObjectPath::new(tenant.as_str(), namespace, &role.name))
            .or_else(|| STATIC.role_in(namespace, &role.name))
    }

    /// A cluster role of a tenant: its own of that name, else the one that all tenants have.
    fn cluster_role(&self, at: &Snapshot, tenant: &TenantName, name: &str) -> Option<Arc<Parsed>> {
        if name.contains('/') {
            return None;
        }
        self.stored(at, GroupResource::new(GROUP, "clusterroles"), ObjectPath::new(tenant.as_str(), "", name))
            .or_else(|| STATIC.roles.get(name).cloned())
    }

    fn stored(&self, at: &Snapshot, resource: GroupResource, path: ObjectPath) -> Option<Arc<Parsed>> {
        let key = ObjectKey { resource, path };
        at.get(&key).map(|stored| self.parse(&key.resource, &stored))
    }

    fn parse(&self, resource: &GroupResource, stored: &Stored) -> Arc<Parsed> {
        let key = ObjectKey { resource: resource.clone(), path: stored.path.clone() };
        if let Some(known) = self.parsed.get(&key).filter(|known| known.0 == stored.revision) {
            return known.1.clone();
        }
        let parsed = Arc::new(parse(&stored.object));
        let texts = parsed.texts();
        if texts > KEPT_TEXTS_MAX {
            return parsed;
        }
        if self.texts.fetch_add(texts, Ordering::Relaxed) >= PARSED_TEXTS_MAX || self.parsed.len() >= PARSED_MAX {
            self.parsed.clear();
            self.texts.store(0, Ordering::Relaxed);
        }
        self.parsed.insert(key, (stored.revision, parsed.clone()));
        parsed
    }
}

/// Decodes a role or binding; one that cannot be read gives nothing.
fn parse(object: &Encoded) -> Parsed {
    object.parse().unwrap_or_default()
}

/// What is said of a role that is named and not there.
fn nowhere(kind: &str, name: &str) -> String {
    let kind = if kind == "ClusterRole" { "clusterrole" } else { "role" };
    format!("{kind}.{GROUP} {name:?} not found")
}

/// Several faults as one, each once; none where there is none. Nobody reads more than a few.
fn told(mut lost: Vec<String>) -> Option<String> {
    const FEW: usize = 20;
    let mut seen = std::collections::HashSet::new();
    lost.retain(|one| seen.insert(one.clone()));
    lost.truncate(FEW);
    if lost.len() > 1 { Some(format!("[{}]", lost.join(", "))) } else { lost.pop() }
}

fn reason(kind: &str, name: &str, binding: &Parsed, subject: &Subject) -> String {
    let whom = match subject.kind.as_str() {
        "ServiceAccount" => format!("{}/{}", subject.name, subject.namespace),
        _ => subject.name.clone(),
    };
    let RoleRef { kind: role_kind, name: role } = &binding.role_ref;
    format!("RBAC: allowed by {kind} {name:?} of {role_kind} {role:?} to {} {whom:?}", subject.kind)
}

impl Parsed {
    /// How many texts it has.
    fn texts(&self) -> usize {
        self.rules.iter().map(Rule::texts).sum::<usize>() + 3 * self.subjects.len() + 2
    }
}

impl Subject {
    /// Whether a tenant's binding is for someone. Names are the tenant's own; those of other tenants (of `system`, too)
    /// are called `tenant:NAME:…`, so that nobody gets what is meant for somebody else of the same name; as
    /// `tenant:NAME@UID:…`, not for a later tenant of the name either.
    fn is(&self, who: &Identity, tenant: &TenantName, namespace: &str, now: &Snapshot) -> bool {
        let elsewhere = self.name.strip_prefix(ELSEWHERE).filter(|_| self.kind != "ServiceAccount");
        let (Some(own), Some(rest)) = (&who.tenant, elsewhere) else {
            return who.tenant.as_ref() == Some(tenant) && self.names(who, namespace);
        };
        let Some((whose, name)) = rest.split_once(':').filter(|_| own != tenant) else { return false };
        let (whose, uid) = whose.split_once('@').map_or((whose, None), |(whose, uid)| (whose, Some(uid)));
        whose == own.as_str()
            && Self { name: name.to_owned(), ..self.clone() }.names(who, "")
            && uid.is_none_or(|uid| {
                let life = || now.get(&crate::verbs::create::tenant_key(own));
                let named = who.tenant_uid.as_str();
                if named.is_empty() {
                    life().is_some_and(|life| life.object.header().uid() == uid)
                } else {
                    named == uid
                }
            })
    }

    fn names(&self, who: &Identity, namespace: &str) -> bool {
        match self.kind.as_str() {
            "User" => self.name == who.user,
            "Group" => who.is_in(&self.name),
            "ServiceAccount" => {
                let own = if self.namespace.is_empty() { namespace } else { &self.namespace };
                !own.is_empty()
                    && who.user.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':'))
                        == Some((own, self.name.as_str()))
            }
            _ => false,
        }
    }
}

impl Rule {
    pub(super) fn allows(&self, asked: &Attributes<'_>) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|one| one == "*" || one == value);
        if !has(&self.verbs, asked.verb) {
            return false;
        }
        if !asked.path.is_empty() {
            return self.non_resource_urls.iter().any(|url| url_matches(url, asked.path));
        }
        has(&self.api_groups, asked.group)
            && self.names_resource(asked.resource, asked.subresource)
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == asked.name))
    }

    /// How many texts it has.
    pub(super) fn texts(&self) -> usize {
        let Self { verbs, api_groups, resources, resource_names, non_resource_urls } = self;
        [verbs, api_groups, resources, resource_names, non_resource_urls].into_iter().map(Vec::len).sum()
    }

    fn names_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|one| match one.as_str() {
            "*" => true,
            one if subresource.is_empty() => one == resource,
            one => one.split_once('/').is_some_and(|(own, sub)| sub == subresource && (own == "*" || own == resource)),
        })
    }

    /// Whether this rule gives everything that `other`, a rule of one verb, group and resource (or path), gives.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let all = |own: &[String], others: &[String]| {
            own.iter().any(|one| one == "*") || others.iter().all(|other| own.contains(other))
        };
        if !all(&self.verbs, &other.verbs) {
            return false;
        }
        let urls = |url: &String| self.non_resource_urls.iter().any(|own| own == url || url_matches(own, url));
        let resource = |resource: &String| {
            self.resources.iter().any(|own| {
                own == "*"
                    || own == resource
                    || resource.split_once('/').is_some_and(|(_, sub)| own.strip_prefix("*/") == Some(sub))
            })
        };
        if !other.non_resource_urls.is_empty() {
            return other.non_resource_urls.iter().all(urls);
        }
        all(&self.api_groups, &other.api_groups)
            && other.resources.iter().all(resource)
            && (self.resource_names.is_empty()
                || (!other.resource_names.is_empty()
                    && other.resource_names.iter().all(|name| self.resource_names.contains(name))))
    }
}

fn url_matches(rule: &str, path: &str) -> bool {
    rule == "*" || rule == path || rule.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}
