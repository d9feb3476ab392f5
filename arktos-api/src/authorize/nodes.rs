//! What a node may, beside what roles give: read what pods that are bound to it name, and at home, in `system`, what
//! node agents need. (The Node authorizer)
//!
//! There is no graph: the pods of the node are read, of one namespace where that is enough. What is asked for is one
//! object, or the services of one namespace, where it may tell Events as well. Admission (NodeRestriction) limits what
//! is written.

use arktos_core::{GroupResource, Object, ObjectKey, TenantName};
use arktos_store::select::{Field, FieldTest};
use arktos_store::{Engine, Selection, Within};
use serde_json::Value;

use super::Attributes;
use super::static_roles::STATIC;

/// Where nodes keep their heartbeats.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// The role that says what a node may at home where nothing more is said here.
const ROLE: &str = "system:node";

/// Where relations between nodes and objects are looked up.
pub(crate) struct Nodes {
    objects: Engine,
    /// Where pods are: elsewhere than the rest, where they are another role's.
    pods: Engine,
    /// Where headers have the node of a pod.
    place: usize,
    /// Whether nodes that ask for all services are shown those beside their pods.
    narrows: bool,
}

impl Nodes {
    /// `place` is where headers have the node of a pod. `narrows` says that a node that asks for all services is shown
    /// those beside its pods.
    pub(crate) fn new(objects: Engine, pods: Engine, place: usize, narrows: bool) -> Self {
        Self { objects, pods, place, narrows }
    }

    /// Whether a node may, for what is named to it. Absent where that says nothing.
    ///
    /// # Errors
    /// Why it may not, in upstream's words.
    pub(crate) fn judge(&self, node: &str, tenant: &TenantName, asked: &Attributes<'_>) -> Option<Result<(), String>> {
        let reads = matches!(asked.verb, "get" | "list" | "watch");
        let refused = match (asked.group, asked.resource) {
            ("", "secrets" | "configmaps") => match asked {
                _ if !reads => "can only read resources of this type",
                asked if !asked.subresource.is_empty() => "cannot read subresource",
                asked if asked.namespace.is_empty() => "can only read namespaced object of this type",
                _ => "",
            },
            ("", "persistentvolumeclaims") if asked.subresource == "status" => match asked.verb {
                "update" | "patch" => "",
                _ => "can only update status of objects",
            },
            ("", "persistentvolumeclaims" | "persistentvolumes") | ("resource.k8s.io", "resourceclaims") => match asked
            {
                asked if asked.verb != "get" => "can only get individual resources of this type",
                asked if !asked.subresource.is_empty() => "cannot get subresource",
                _ => "",
            },
            ("", "services") if reads && asked.subresource.is_empty() => {
                let shown = match asked.namespace {
                    "" => self.narrows,
                    namespace => self.any_pod(node, tenant, namespace, |_| true),
                };
                return shown.then_some(Ok(()));
            }
            ("" | "events.k8s.io", "events") if *tenant != TenantName::system() => {
                let tells = matches!(asked.verb, "create" | "patch") && asked.subresource.is_empty();
                return (tells && self.any_pod(node, tenant, asked.namespace, |_| true)).then_some(Ok(()));
            }
            ("storage.k8s.io", "volumeattachments") => match asked {
                asked if asked.verb != "get" => "can only get individual resources of this type",
                asked if !asked.subresource.is_empty() => "cannot get subresource",
                _ => "",
            },
            ("", "serviceaccounts") if asked.verb == "get" && asked.subresource.is_empty() => "",
            ("", "serviceaccounts") => match asked {
                asked if asked.verb != "create" || asked.name.is_empty() => {
                    "can only create tokens for individual service accounts"
                }
                asked if asked.subresource != "token" => "can only create token subresource of serviceaccount",
                _ => "",
            },
            _ if *tenant == TenantName::system() => return self.at_home(node, tenant, asked),
            _ => return None,
        };
        Some(self.related(node, tenant, asked, refused))
    }

    /// Whether what is asked for is named to a node, where nothing else stands against it.
    fn related(&self, node: &str, tenant: &TenantName, asked: &Attributes<'_>, refused: &str) -> Result<(), String> {
        let why = match refused {
            "" if asked.name.is_empty() => "No Object name found".to_owned(),
            "" if self.is_named(node, tenant, asked) => return Ok(()),
            "" => format!("no relationship found between node '{node}' and this object"),
            refused => refused.to_owned(),
        };
        Err(why)
    }

    /// Whether a node may, for its own sake: it registers, sends its heartbeats, and reports on its pods.
    fn at_home(&self, node: &str, tenant: &TenantName, asked: &Attributes<'_>) -> Option<Result<(), String>> {
        let (whole, own) = (asked.subresource.is_empty(), asked.name == node || asked.verb == "create");
        let owned = matches!(asked.verb, "get" | "create" | "update" | "patch" | "delete");
        let why = match (asked.group, asked.resource, asked.verb) {
            ("coordination.k8s.io", "leases", _) => match asked {
                _ if !owned => "can only get, create, update, patch, or delete a node lease".to_owned(),
                asked if asked.namespace != LEASE_NAMESPACE => {
                    format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace")
                }
                _ if !own => "can only access node lease with the same name as the requesting node".to_owned(),
                _ => return Some(Ok(())),
            },
            ("storage.k8s.io", "csinodes", _) => match asked {
                _ if !owned => "can only get, create, update, patch, or delete a CSINode".to_owned(),
                _ if !whole => "cannot authorize CSINode subresources".to_owned(),
                _ if !own => "can only access CSINode with the same name as the requesting node".to_owned(),
                _ => return Some(Ok(())),
            },
            ("", "nodes", "get" | "list" | "watch") if whole => match asked.name {
                name if name == node => return Some(Ok(())),
                "" => format!("node '{node}' cannot read all nodes, only its own Node object"),
                name => format!("node '{node}' cannot read '{name}', only its own Node object"),
            },
            ("", "pods", "list" | "watch") if whole && asked.node == node => return Some(Ok(())),
            ("", "pods", "list" | "watch") if whole && asked.name.is_empty() => {
                "can only list/watch pods with spec.nodeName field selector".to_owned()
            }
            ("", "pods", "get" | "list" | "watch") if whole => return Some(self.related(node, tenant, asked, "")),
            ("resource.k8s.io", "resourceslices", verb) => match verb {
                _ if !whole => "cannot authorize ResourceSlice subresources".to_owned(),
                "create" => return Some(Ok(())),
                "get" | "update" | "patch" | "delete" => return Some(self.related(node, tenant, asked, "")),
                "list" | "watch" | "deletecollection" if asked.node == node => return Some(Ok(())),
                "list" | "watch" | "deletecollection" => {
                    "can only list/watch/deletecollection resourceslices with nodeName field selector".to_owned()
                }
                _ => "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, \
                      patch, delete, deletecollection"
                    .to_owned(),
            },
            _ => {
                let role = STATIC.roles.get(ROLE)?;
                return role.rules.iter().any(|rule| rule.allows(asked)).then_some(Ok(()));
            }
        };
        Some(Err(why))
    }

    fn is_named(&self, node: &str, tenant: &TenantName, asked: &Attributes<'_>) -> bool {
        let on_it = |group: &str, path: &[&str]| {
            let found = self.read(GroupResource::new(group, asked.resource), tenant, "", asked.name);
            found.is_some_and(|object| object.str_at(path) == node)
        };
        match asked.resource {
            // Whose they are is for their partition to say, which the question goes on to.
            "persistentvolumes" | "volumeattachments" if self.narrows => return self.has_claims(node, tenant),
            "persistentvolumes" => {}
            "secrets" => {
                return self.any_pod(node, tenant, asked.namespace, |pod| names(pod, asked))
                    || match self.narrows {
                        true => self.is_elsewhere(tenant, asked.namespace) && self.has_claims(node, tenant),
                        false => self.volume_names(node, tenant, asked),
                    };
            }
            "pods" => return self.any_pod(node, tenant, asked.namespace, |pod| pod.name() == asked.name),
            "resourceslices" => return on_it("resource.k8s.io", &["spec", "nodeName"]),
            "volumeattachments" => return on_it("storage.k8s.io", &["spec", "nodeName"]),
            _ => return self.any_pod(node, tenant, asked.namespace, |pod| names(pod, asked)),
        }
        let volume = self.read(GroupResource::core("persistentvolumes"), tenant, "", asked.name);
        let Some(volume) = volume else { return false };
        let claim = |field: &str| volume.str_at(&["spec", "claimRef", field]);
        let (namespace, name) = (claim("namespace"), claim("name"));
        !name.is_empty() && self.any_pod(node, tenant, namespace, |pod| claims(pod).any(|claim| claim == name))
    }

    /// Whether a volume that a claim of a pod of a node is bound to takes a secret on nodes, in whatever namespace.
    fn volume_names(&self, node: &str, tenant: &TenantName, asked: &Attributes<'_>) -> bool {
        let claims_with = |claim: &str, namespace: &str| {
            let claim = self.read(GroupResource::core("persistentvolumeclaims"), tenant, namespace, claim)?;
            let volume = claim.str_at(&["spec", "volumeName"]);
            let volume = Some(volume).filter(|volume| !volume.is_empty());
            let volume = self.read(GroupResource::core("persistentvolumes"), tenant, "", volume?)?;
            Some(takes(&volume, asked.namespace, asked.name))
        };
        self.any_pod_in(node, Within::Tenant(tenant.clone()), |pod| {
            let namespace = pod.str_at(&["metadata", "namespace"]);
            claims(pod).any(|claim| claims_with(&claim, namespace) == Some(true))
        })
    }

    /// Whether a namespace is none of those that are kept here.
    fn is_elsewhere(&self, tenant: &TenantName, namespace: &str) -> bool {
        self.read(GroupResource::core("namespaces"), tenant, "", namespace).is_none()
    }

    /// Whether a node has a pod with a claim.
    fn has_claims(&self, node: &str, tenant: &TenantName) -> bool {
        self.any_pod_in(node, Within::Tenant(tenant.clone()), |pod| claims(pod).next().is_some())
    }

    /// Whether something holds for a pod of a node, of those in a namespace.
    fn any_pod(&self, node: &str, tenant: &TenantName, namespace: &str, test: impl FnMut(&Object) -> bool) -> bool {
        let within = || Within::Namespace(tenant.clone(), namespace.to_owned());
        !namespace.is_empty() && self.any_pod_in(node, within(), test)
    }

    fn any_pod_in(&self, node: &str, within: Within, mut test: impl FnMut(&Object) -> bool) -> bool {
        let on_it = FieldTest { field: Field::At(self.place), value: node.to_owned(), equal: true };
        let selection = Selection::all(GroupResource::core("pods"), within).field(on_it);
        let snapshot = self.pods.snapshot();
        snapshot.select(&selection, None).any(|stored| stored.object.decode(None).is_ok_and(|pod| test(&pod)))
    }

    fn read(&self, resource: GroupResource, tenant: &TenantName, namespace: &str, name: &str) -> Option<Object> {
        if namespace.contains('/') || name.contains('/') {
            return None;
        }
        let key = match namespace {
            "" => ObjectKey::tenant_scoped(resource, tenant, name),
            namespace => ObjectKey::namespaced(resource, tenant, namespace, name),
        };
        self.objects.snapshot().get(&key)?.object.decode(None).ok()
    }
}

/// Whether a pod names what is asked for.
fn names(pod: &Object, asked: &Attributes<'_>) -> bool {
    let name = asked.name;
    match asked.resource {
        "serviceaccounts" => pod.str_at(&["spec", "serviceAccountName"]) == name,
        "persistentvolumeclaims" => claims(pod).any(|claim| claim == name),
        "resourceclaims" => device_claims(pod).any(|claim| claim == name),
        "configmaps" => named(pod, "configMap", "name", "configMapRef", "configMapKeyRef").any(|map| map == name),
        _ => {
            named(pod, "secret", "secretName", "secretRef", "secretKeyRef").any(|secret| secret == name)
                || items(pod, &["spec", "imagePullSecrets"]).any(|secret| secret["name"] == name)
        }
    }
}

fn items<'a>(object: &'a Object, path: &[&str]) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.at(path).and_then(Value::as_array).into_iter().flatten()
}

/// Whether a volume takes a secret on nodes: for its driver, or for the storage behind it.
fn takes(volume: &Object, namespace: &str, name: &str) -> bool {
    let references = ["secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"];
    let home = volume.str_at(&["spec", "claimRef", "namespace"]);
    let sources = volume.at(&["spec"]).and_then(Value::as_object).into_iter().flat_map(serde_json::Map::values);
    sources.filter(|source| source.is_object()).any(|source| {
        let is_it = |of: &Value, secret: &Value| {
            let of = of.as_str().filter(|of| !of.is_empty()).unwrap_or(home);
            of == namespace && secret.as_str() == Some(name)
        };
        references.iter().any(|reference| is_it(&source[*reference]["namespace"], &source[*reference]["name"]))
            || is_it(&source["secretNamespace"], &source["secretName"])
    })
}

/// The claims of volumes that a pod has, those that are made for it among them.
fn claims(pod: &Object) -> impl Iterator<Item = String> + use<'_> {
    items(pod, &["spec", "volumes"]).filter_map(|volume| {
        if volume["ephemeral"].is_object() {
            return Some(format!("{}-{}", pod.name(), volume["name"].as_str()?));
        }
        volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned)
    })
}

/// The claims of devices that a pod has, by name and as they were made for it.
fn device_claims(pod: &Object) -> impl Iterator<Item = &str> {
    let given = items(pod, &["spec", "resourceClaims"]);
    let made = items(pod, &["status", "resourceClaimStatuses"]);
    given.chain(made).filter_map(|claim| claim["resourceClaimName"].as_str())
}

/// What a pod names in volumes, directly or among what is projected, and in the environment of its containers.
fn named<'a>(
    pod: &'a Object,
    volume: &'static str,
    by: &'static str,
    whole: &'static str,
    key: &'static str,
) -> impl Iterator<Item = &'a str> {
    let of_volumes = items(pod, &["spec", "volumes"]).flat_map(move |of| {
        let projected = of["projected"]["sources"].as_array().into_iter().flatten();
        std::iter::once(&of[volume][by]).chain(projected.map(move |source| &source[volume]["name"]))
    });
    let containers = ["containers", "initContainers", "ephemeralContainers"];
    let of_containers =
        containers.into_iter().flat_map(|list| items(pod, &["spec", list])).flat_map(move |container| {
            let all = container["envFrom"].as_array().into_iter().flatten().map(move |source| &source[whole]["name"]);
            let one = container["env"].as_array().into_iter().flatten();
            all.chain(one.map(move |variable| &variable["valueFrom"][key]["name"]))
        });
    of_volumes.chain(of_containers).filter_map(Value::as_str)
}
