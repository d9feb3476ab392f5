//! The roles and bindings that every tenant has from the start. They exist once, for all.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::components::components;
use super::rbac::Parsed;

/// The roles and bindings, decoded.
pub(crate) static STATIC: LazyLock<StaticRules> = LazyLock::new(|| {
    let read =
        |(name, value): (&'static str, Value)| (name, serde_json::from_value::<Parsed>(value).unwrap_or_default());
    let roles = roles().into_iter().map(read).map(|(name, role)| (name, Arc::new(role))).collect();
    let mut of_accounts = HashMap::new();
    let mut bindings = BTreeMap::new();
    for (name, binding) in bindings_of_all().into_iter().map(read) {
        match binding.subjects.first() {
            Some(account) if account.kind == "ServiceAccount" => {
                let user = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
                of_accounts.insert(user, (name, binding));
            }
            _ => drop(bindings.insert(name, binding)),
        }
    }
    let place =
        |it: Namespaced| ((it.namespace, it.name), serde_json::from_value::<Parsed>(it.body).unwrap_or_default());
    let inner_roles = namespaced_roles().into_iter().map(place).map(|(at, role)| (at, Arc::new(role))).collect();
    let inner_bindings = namespaced_bindings().into_iter().map(place).collect();
    StaticRules { roles, bindings, of_accounts, inner_roles, inner_bindings }
});

/// What [`STATIC`] holds.
pub(crate) struct StaticRules {
    pub(crate) roles: BTreeMap<&'static str, Arc<Parsed>>,
    /// Bindings to users and groups.
    bindings: BTreeMap<&'static str, Parsed>,
    /// Bindings to one service account each, by the user that it is.
    of_accounts: HashMap<String, (&'static str, Parsed)>,
    /// Roles in namespaces, by namespace and name.
    inner_roles: BTreeMap<(&'static str, &'static str), Arc<Parsed>>,
    /// Bindings to these.
    inner_bindings: BTreeMap<(&'static str, &'static str), Parsed>,
}

/// A role, or a binding, that is in a namespace of every tenant.
pub(crate) struct Namespaced {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    /// As a body of the object.
    pub(crate) body: Value,
}

impl StaticRules {
    /// The role of a name in a namespace.
    pub(crate) fn role_in(&self, namespace: &str, name: &str) -> Option<Arc<Parsed>> {
        self.inner_roles.get(&(namespace, name)).cloned()
    }

    /// The bindings in a namespace, with their names.
    pub(crate) fn bindings_in(&self, namespace: &str) -> impl Iterator<Item = (&'static str, &Parsed)> {
        let all = self.inner_bindings.iter();
        all.filter(move |((place, _), _)| *place == namespace).map(|((_, name), binding)| (*name, binding))
    }

    /// The bindings that may be for a user, with their names.
    pub(crate) fn bindings_for(&self, user: &str) -> impl Iterator<Item = (&'static str, &Parsed)> {
        let own = self.of_accounts.get(user).map(|(name, binding)| (*name, binding));
        self.bindings.iter().map(|(name, binding)| (*name, binding)).chain(own)
    }
}

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

fn urls(urls: &[&str]) -> Value {
    json!({"nonResourceURLs": urls, "verbs": ["get"]})
}

/// The cluster roles, by name, as bodies of ClusterRole objects (`rules`, `aggregationRule`, labels).
pub(crate) fn roles() -> Vec<(&'static str, Value)> {
    let components = components().into_iter().filter(|it| it.namespace.is_none());
    let components = components.map(|it| (it.name, json!({"rules": it.rules})));
    people().into_iter().chain(components).collect()
}

/// The roles that are given to people.
fn people() -> Vec<(&'static str, Value)> {
    let everything = vec![
        json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
        json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
    ];
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let reviews = vec![
        rule(&["authorization.k8s.io"], &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &["create"]),
        rule(&["authentication.k8s.io"], &["selfsubjectreviews"], &["create"]),
    ];
    let well_known = [
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/",
        "/openid/v1/jwks",
        "/openid/v1/jwks/",
    ];
    [
        ("cluster-admin", everything),
        ("system:basic-user", reviews),
        ("system:discovery", vec![urls(&["/.well-known", "/.well-known/*"]), urls(&discovery)]),
        (
            "system:monitoring",
            vec![
                urls(&[
                    "/flagz",
                    "/healthz",
                    "/healthz/*",
                    "/livez",
                    "/livez/*",
                    "/metrics",
                    "/metrics/slis",
                    "/readyz",
                    "/readyz/*",
                    "/statusz",
                ]),
                rule(&[""], &["nodes/metrics"], &["get"]),
            ],
        ),
        ("system:public-info-viewer", vec![urls(&["/healthz", "/livez", "/readyz", "/version", "/version/"])]),
        ("system:service-account-issuer-discovery", vec![urls(&well_known)]),
    ]
    .into_iter()
    .map(|(name, rules)| (name, json!({"rules": rules})))
    .chain(gathered())
    .collect()
}

/// A role with this label is gathered into the role `admin`, `edit` or `view` that it names.
const GATHERED_INTO: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// The roles that gather others, with what they gather of what there is from the start, and what they gather. What a
/// tenant adds comes in by a controller (`clusterrole-aggregation`), in a copy of the tenant's own.
fn gathered() -> [(&'static str, Value); 6] {
    let labels = |into: &str| {
        let mut labels = serde_json::Map::new();
        labels.insert(format!("{GATHERED_INTO}{into}"), Value::from("true"));
        labels
    };
    let part = |into: &str, rules: Vec<Value>| json!({"metadata": {"labels": labels(into)}, "rules": rules});
    let whole = |name: &str, into: Option<&str>, rules: Vec<Value>| {
        let mut role = json!({
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": labels(name)}]},
            "rules": rules,
        });
        if let Some(into) = into {
            role["metadata"] = json!({"labels": labels(into)});
        }
        role
    };
    let view = view_rules();
    // In the order of the names of those that are gathered.
    let edit: Vec<Value> = edit_rules().into_iter().chain(view.clone()).collect();
    let admin: Vec<Value> = edit.iter().cloned().chain(admin_rules()).collect();
    [
        ("admin", whole("admin", None, admin)),
        ("edit", whole("edit", Some("admin"), edit)),
        ("view", whole("view", Some("edit"), view)),
        ("system:aggregate-to-admin", part("admin", admin_rules())),
        ("system:aggregate-to-edit", part("edit", edit_rules())),
        ("system:aggregate-to-view", part("view", view_rules())),
    ]
}

/// The cluster role bindings, by name, as bodies of ClusterRoleBinding objects.
pub(crate) fn bindings_of_all() -> Vec<(&'static str, Value)> {
    let bound = components().into_iter().filter(|it| it.namespace.is_none() && it.bound).map(|it| {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": it.name});
        let mut binding = json!({"roleRef": role});
        if !it.subjects.is_empty() {
            binding["subjects"] = json!(it.subjects);
        }
        (it.name, binding)
    });
    to_groups().into_iter().chain(bound).collect()
}

/// The roles in namespaces.
pub(crate) fn namespaced_roles() -> Vec<Namespaced> {
    let all = components().into_iter().filter_map(|it| {
        Some(Namespaced { namespace: it.namespace?, name: it.name, body: json!({"rules": it.rules}) })
    });
    all.collect()
}

/// The bindings to these.
pub(crate) fn namespaced_bindings() -> Vec<Namespaced> {
    let all = components().into_iter().filter_map(|it| {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": it.name});
        let body = json!({"roleRef": role, "subjects": it.subjects});
        Some(Namespaced { namespace: it.namespace?, name: it.binding, body })
    });
    all.collect()
}

/// The bindings to groups.
fn to_groups() -> Vec<(&'static str, Value)> {
    let to = |role: &str, groups: &[&str]| {
        let subject = |group: &&str| json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group});
        json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": groups.iter().map(subject).collect::<Vec<_>>(),
        })
    };
    vec![
        ("cluster-admin", to("cluster-admin", &["system:masters"])),
        ("system:basic-user", to("system:basic-user", &["system:authenticated"])),
        ("system:discovery", to("system:discovery", &["system:authenticated"])),
        ("system:monitoring", to("system:monitoring", &["system:monitoring"])),
        (
            "system:public-info-viewer",
            to("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
        ),
        (
            "system:service-account-issuer-discovery",
            to("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
        ),
    ]
}

/// Without endpoints: who may write these sends what comes for a service to any pod, past rules about namespaces.
const CORE: [&str; 8] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "replicationcontrollers/scale",
    "serviceaccounts",
    "services",
    "events",
];
const APPS: [&str; 8] = [
    "daemonsets",
    "deployments",
    "deployments/rollback",
    "deployments/scale",
    "replicasets",
    "replicasets/scale",
    "statefulsets",
    "statefulsets/scale",
];

fn view_rules() -> Vec<Value> {
    let core = [
        "bindings",
        "endpoints",
        "limitranges",
        "namespaces",
        "namespaces/status",
        "persistentvolumeclaims/status",
        "pods/log",
        "pods/status",
        "replicationcontrollers/status",
        "resourcequotas",
        "resourcequotas/status",
        "services/status",
    ];
    let core: Vec<&str> = CORE.into_iter().chain(core).collect();
    let status =
        ["controllerrevisions", "daemonsets/status", "deployments/status", "replicasets/status", "statefulsets/status"];
    let apps: Vec<&str> = APPS.into_iter().chain(status).collect();
    vec![
        rule(&[""], &core, &READ),
        rule(&["apps"], &apps, &READ),
        rule(&["autoscaling"], &["horizontalpodautoscalers", "horizontalpodautoscalers/status"], &READ),
        rule(&["batch"], &["cronjobs", "cronjobs/status", "jobs", "jobs/status"], &READ),
        rule(&["coordination.k8s.io"], &["leases"], &READ),
        rule(&["discovery.k8s.io"], &["endpointslices"], &READ),
        rule(&["networking.k8s.io"], &["ingresses", "ingresses/status", "networkpolicies"], &READ),
        rule(&["policy"], &["poddisruptionbudgets", "poddisruptionbudgets/status"], &READ),
        rule(&["resource.k8s.io"], &["resourceclaims", "resourceclaims/status", "resourceclaimtemplates"], &READ),
    ]
}

fn edit_rules() -> Vec<Value> {
    vec![
        rule(
            &[""],
            &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"],
            &READ,
        ),
        rule(&[""], &["serviceaccounts"], &["impersonate"]),
        rule(&[""], &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets"], &WRITE),
        rule(&[""], &["pods/eviction", "serviceaccounts/token"], &["create"]),
        rule(&[""], &CORE, &WRITE),
        rule(&["apps"], &APPS, &WRITE),
        rule(&["autoscaling"], &["horizontalpodautoscalers"], &WRITE),
        rule(&["batch"], &["cronjobs", "jobs"], &WRITE),
        rule(&["coordination.k8s.io"], &["leases"], &WRITE),
        rule(&["networking.k8s.io"], &["ingresses", "networkpolicies"], &WRITE),
        rule(&["policy"], &["poddisruptionbudgets"], &WRITE),
        rule(&["resource.k8s.io"], &["resourceclaims", "resourceclaimtemplates"], &WRITE),
    ]
}

fn admin_rules() -> Vec<Value> {
    let all: Vec<&str> = READ.into_iter().chain(WRITE).collect();
    vec![
        rule(&["authorization.k8s.io"], &["localsubjectaccessreviews"], &["create"]),
        rule(&["rbac.authorization.k8s.io"], &["rolebindings", "roles"], &all),
    ]
}
