//! Versions that only Arktos's own clients ask for, as [`Catalog::with_old_versions`](crate::Catalog) has them: what of
//! their form differs from today's.

use serde_json::{Map, Value, json};

use crate::catalog::Kind;
use crate::object::Object;

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// An object in an old version, brought into today's form.
pub(super) fn to_today(from: &Kind, object: &mut Object) {
    match (from.type_meta.api_version.as_str(), from.kind.as_str()) {
        ("extensions/v1beta1" | "apps/v1beta1", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet") => {
            select_the_template(object);
        }
        ("extensions/v1beta1" | "networking.k8s.io/v1beta1", "Ingress") => {
            object.fields.get_mut("spec").into_iter().for_each(ingress_to_today);
        }
        ("apiextensions.k8s.io/v1beta1", _) => {
            object.fields.get_mut("spec").into_iter().for_each(definition_to_today);
        }
        _ => {}
    }
}

/// Today's form, as an old version shows it.
pub(super) fn from_today(to: &Kind, object: &mut Object) {
    match (to.type_meta.api_version.as_str(), to.kind.as_str()) {
        ("extensions/v1beta1" | "networking.k8s.io/v1beta1", "Ingress") => {
            object.fields.get_mut("spec").into_iter().for_each(ingress_from_today);
        }
        ("apiextensions.k8s.io/v1beta1", _) => {
            object.fields.get_mut("spec").into_iter().for_each(definition_from_today);
        }
        _ => {}
    }
}

/// A workload that did not say which pods are its own had those that it makes.
fn select_the_template(object: &mut Object) {
    let silent = object.at(&["spec", "selector"]).is_none_or(|selector| selector.is_null() || *selector == json!({}));
    let labels = object.at(&["spec", "template", "metadata", "labels"]).cloned();
    if let (true, Some(labels)) = (silent, labels.filter(Value::is_object)) {
        object.set(&["spec", "selector"], json!({ "matchLabels": labels }));
    }
}

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.remove(from) {
        map.insert(to.to_owned(), value);
    }
}

/// All paths of all rules of an ingress.
fn paths(spec: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let rules = spec.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten();
    let paths = rules.filter_map(|rule| rule.get_mut("http")?.get_mut("paths")?.as_array_mut());
    paths.flatten().filter_map(Value::as_object_mut)
}

fn ingress_to_today(spec: &mut Value) {
    let Some(spec) = spec.as_object_mut() else { return };
    rename(spec, "backend", "defaultBackend");
    spec.get_mut("defaultBackend").into_iter().for_each(backend_to_today);
    for path in paths(spec) {
        path.entry("pathType").or_insert_with(|| "ImplementationSpecific".into());
        path.get_mut("backend").into_iter().for_each(backend_to_today);
    }
}

fn ingress_from_today(spec: &mut Value) {
    let Some(spec) = spec.as_object_mut() else { return };
    spec.get_mut("defaultBackend").into_iter().for_each(backend_from_today);
    rename(spec, "defaultBackend", "backend");
    for path in paths(spec) {
        path.get_mut("backend").into_iter().for_each(backend_from_today);
    }
}

fn backend_to_today(backend: &mut Value) {
    let Some(backend) = backend.as_object_mut() else { return };
    let Some(name) = backend.remove("serviceName") else { return };
    let port = match backend.remove("servicePort") {
        Some(Value::String(name)) => json!({ "name": name }),
        Some(number) => json!({ "number": number }),
        None => json!({}),
    };
    backend.insert("service".to_owned(), json!({"name": name, "port": port}));
}

fn backend_from_today(backend: &mut Value) {
    let Some(backend) = backend.as_object_mut() else { return };
    let Some(service) = backend.remove("service") else { return };
    let port = &service["port"];
    let port = if port["name"].is_string() { port["name"].clone() } else { port["number"].clone() };
    backend.insert("serviceName".to_owned(), service["name"].clone());
    backend.insert("servicePort".to_owned(), port);
}

/// What of a definition was said once for all versions, and is said of each today.
const OF_EACH: [(&str, &str); 3] = [
    ("validation", "schema"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
];

fn definition_to_today(spec: &mut Value) {
    let Some(spec) = spec.as_object_mut() else { return };
    let version = spec.remove("version");
    let none = spec.get("versions").and_then(Value::as_array).is_none_or(Vec::is_empty);
    if let (true, Some(name)) = (none, version) {
        spec.insert("versions".to_owned(), json!([{"name": name, "served": true, "storage": true}]));
    }
    // Unless it said otherwise, an old definition kept whatever its objects had.
    let preserves = spec.remove("preserveUnknownFields").is_none_or(|said| said != false);
    let shared: Vec<(&str, Option<Value>)> = OF_EACH.map(|(once, each)| (each, spec.remove(once))).into();
    let versions = spec.get_mut("versions").and_then(Value::as_array_mut).into_iter().flatten();
    for version in versions.filter_map(Value::as_object_mut) {
        for (each, value) in &shared {
            if let (Some(value), false) = (value, version.contains_key(*each)) {
                version.insert((*each).to_owned(), value.clone());
            }
        }
        schema_to_today(version, preserves);
        rename_columns(version, "JSONPath", "jsonPath");
    }
    if let Some(conversion) = spec.get_mut("conversion").and_then(Value::as_object_mut) {
        let mut webhook = Map::new();
        for (old, new) in
            [("webhookClientConfig", "clientConfig"), ("conversionReviewVersions", "conversionReviewVersions")]
        {
            if let Some(value) = conversion.remove(old) {
                webhook.insert(new.to_owned(), value);
            }
        }
        if conversion.get("strategy").is_some_and(|strategy| strategy == "Webhook") {
            conversion.entry("webhook").or_insert(Value::Object(webhook));
        }
    }
}

/// Today each version has a schema, which says of what it is.
fn schema_to_today(version: &mut Map<String, Value>, preserves: bool) {
    let whole = version.entry("schema").or_insert_with(|| json!({}));
    if !whole.get("openAPIV3Schema").is_some_and(Value::is_object) {
        *whole = json!({"openAPIV3Schema": {}});
    }
    if let Some(schema) = whole.get_mut("openAPIV3Schema").and_then(Value::as_object_mut) {
        schema.entry("type").or_insert_with(|| "object".into());
        if preserves {
            schema.insert(PRESERVE.to_owned(), Value::Bool(true));
        }
    }
}

fn rename_columns(version: &mut Map<String, Value>, from: &str, to: &str) {
    let columns = version.get_mut("additionalPrinterColumns").and_then(Value::as_array_mut).into_iter().flatten();
    columns.filter_map(Value::as_object_mut).for_each(|column| rename(column, from, to));
}

fn definition_from_today(spec: &mut Value) {
    let Some(spec) = spec.as_object_mut() else { return };
    let mut versions: Vec<Map<String, Value>> = match spec.remove("versions") {
        Some(Value::Array(versions)) => versions.into_iter().filter_map(|one| one.as_object().cloned()).collect(),
        _ => return,
    };
    versions.iter_mut().for_each(|version| rename_columns(version, "jsonPath", "JSONPath"));
    let Some(first) = versions.first().cloned() else { return };
    if let Some(name) = first.get("name") {
        spec.insert("version".to_owned(), name.clone());
    }
    // The old form says once what holds for all versions, and may not say it of each.
    for (once, each) in OF_EACH {
        if versions.iter().all(|version| version.get(each) == first.get(each)) {
            versions.iter_mut().for_each(|version| drop(version.remove(each)));
            if let Some(value) = first.get(each) {
                spec.insert(once.to_owned(), value.clone());
            }
        }
    }
    let preserves = spec.get("validation").is_some_and(|schema| schema["openAPIV3Schema"][PRESERVE] == true);
    spec.insert("preserveUnknownFields".to_owned(), Value::Bool(preserves));
    spec.insert("versions".to_owned(), versions.into_iter().map(Value::Object).collect());
    if let Some(conversion) = spec.get_mut("conversion").and_then(Value::as_object_mut)
        && let Some(Value::Object(mut webhook)) = conversion.remove("webhook")
    {
        rename(&mut webhook, "clientConfig", "webhookClientConfig");
        conversion.extend(webhook);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::rules::convert::{from_storage, to_storage};

    fn kind(group: &str, resource: &str) -> std::sync::Arc<Kind> {
        let catalog = Catalog::builtin().with_old_versions();
        catalog.by_path(group, "v1beta1", resource).expect("an old kind")
    }

    fn stored(kind: &Kind, object: Value) -> Object {
        to_storage(kind, Object::from_value(object).expect("an object"))
    }

    #[test]
    fn a_deployment_that_selects_nothing_selects_what_it_makes() {
        let kind = kind("extensions", "deployments");
        let labels = json!({"app": "web"});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "b"}]}});
        let deployment = json!({"metadata": {"name": "web"}, "spec": {"template": template}});
        let stored = stored(&kind, deployment);
        assert_eq!(stored.type_meta().api_version, "apps/v1");
        assert_eq!(stored.at(&["spec", "selector", "matchLabels"]), Some(&labels));
        assert_eq!(from_storage(&kind, stored).type_meta().api_version, "extensions/v1beta1");
    }

    #[test]
    fn an_ingress_names_its_services_in_the_old_way() {
        let kind = kind("extensions", "ingresses");
        let backend = |port: Value| json!({"serviceName": "web", "servicePort": port});
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend(json!("http"))}]);
        let spec = json!({"backend": backend(json!(80)), "rules": [{"host": "a.example", "http": {"paths": paths}}]});
        let stored = stored(&kind, json!({"metadata": {"name": "web"}, "spec": spec}));
        assert_eq!(stored.at(&["spec", "defaultBackend", "service", "port", "number"]), Some(&json!(80)));
        assert_eq!(from_storage(&kind, stored).at(&["spec"]), Some(&spec));
    }

    #[test]
    fn a_definition_that_says_next_to_nothing_keeps_whatever_its_objects_have() {
        let kind = kind("apiextensions.k8s.io", "customresourcedefinitions");
        let names = json!({"kind": "Dream", "plural": "dreams"});
        let spec = json!({"group": "example.org", "version": "v1", "scope": "Namespaced", "names": names});
        let stored = stored(&kind, json!({"metadata": {"name": "dreams.example.org"}, "spec": spec}));
        let versions = stored.at(&["spec", "versions"]).expect("versions");
        assert_eq!(versions[0]["name"], "v1");
        assert_eq!((&versions[0]["served"], &versions[0]["storage"]), (&json!(true), &json!(true)));
        assert_eq!(versions[0]["schema"]["openAPIV3Schema"], json!({"type": "object", PRESERVE: true}));
        let shown = from_storage(&kind, stored);
        assert_eq!(shown.at(&["spec", "version"]), Some(&json!("v1")));
        assert_eq!(shown.at(&["spec", "preserveUnknownFields"]), Some(&json!(true)));
    }

    #[test]
    fn a_definition_is_the_same_after_storage() {
        let kind = kind("apiextensions.k8s.io", "customresourcedefinitions");
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object"}}});
        let service = json!({"clientConfig": {"url": "https://a.example"}, "conversionReviewVersions": ["v1"]});
        let spec = json!({
            "group": "example.org", "version": "v2", "scope": "Cluster", "preserveUnknownFields": false,
            "names": {"kind": "Dream", "plural": "dreams"},
            "versions": [
                {"name": "v2", "served": true, "storage": true}, {"name": "v1", "served": true, "storage": false},
            ],
            "validation": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": "Depth", "type": "integer", "JSONPath": ".spec.depth"}],
            "conversion": {"strategy": "Webhook", "webhookClientConfig": service["clientConfig"],
                "conversionReviewVersions": ["v1"]},
        });
        let stored = stored(&kind, json!({"metadata": {"name": "dreams.example.org"}, "spec": spec}));
        assert_eq!(stored.at(&["spec", "conversion", "webhook"]), Some(&service));
        let versions = stored.at(&["spec", "versions"]).and_then(Value::as_array).expect("versions");
        for version in versions {
            assert_eq!(version["schema"]["openAPIV3Schema"], schema);
            assert_eq!(version["additionalPrinterColumns"][0]["jsonPath"], ".spec.depth");
        }
        let mut shown = from_storage(&kind, stored);
        shown.set(&["spec", "names"], spec["names"].clone()); // what is left out there is filled in
        for (field, value) in spec.as_object().expect("an object") {
            assert_eq!(shown.at(&["spec", field]), Some(value), "{field}");
        }
    }
}
