//! The operations on the resources of a group version.

use arktos_core::catalog::{Kind, Subresource};
use arktos_core::{Scope, TypeMeta};
use serde_json::{Map, Value, json};

use super::schemas::{Components, kind_extension};
use crate::negotiate::{JSON, PROTOBUF, PatchType, YAML};

/// Query parameters: their names, and the JSON types of their values.
type Parameters = &'static [(&'static str, &'static str)];

const WRITE: Parameters = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const FORCE: Parameters = &[("force", "boolean")];
const LIST: Parameters = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const DELETE: Parameters = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
/// Subresources that are a connection to a container, a node or a service.
const CONNECTIONS: [&str; 4] = ["attach", "exec", "portforward", "proxy"];

/// Adds the paths of a kind below `root`, such as `/apis/apps/v1`.
pub(super) fn add(paths: &mut Map<String, Value>, components: &mut Components<'_>, root: &str, kind: &Kind) {
    let namespaced = kind.scope == Scope::Namespace;
    let all = format!("{root}/{}", kind.resource);
    let collection =
        if namespaced { format!("{root}/namespaces/{{namespace}}/{}", kind.resource) } else { all.clone() };
    let one = format!("{collection}/{{name}}");
    let mut writer = Writer { components, kind };
    if namespaced && kind.can("list") {
        let list = writer.operation("list", "ForAllNamespaces");
        paths.insert(all, json!({"get": list, "parameters": path_parameters(false, false)}));
    }
    let scope = if namespaced { "Namespaced" } else { "" };
    for (path, operations) in [
        (&collection, [("get", "list"), ("post", "create"), ("delete", "deletecollection")].as_slice()),
        (&one, &[("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete")]),
    ] {
        let operations = operations.iter().filter(|(_, verb)| kind.can(verb));
        let mut item: Map<String, Value> =
            operations.map(|(method, verb)| ((*method).to_owned(), writer.operation(verb, scope))).collect();
        if !item.is_empty() {
            item.insert("parameters".to_owned(), path_parameters(namespaced, *path == one));
            paths.insert(path.clone(), Value::Object(item));
        }
    }
    for part in &kind.subresources {
        let mut item = Map::new();
        for (method, verb) in
            [("get", "get"), ("post", "create"), ("put", "update"), ("patch", "patch"), ("delete", "delete")]
        {
            if part.verbs.iter().any(|known| known == verb) {
                item.insert(method.to_owned(), writer.part_operation(part, verb, scope));
            }
        }
        item.insert("parameters".to_owned(), path_parameters(namespaced, true));
        paths.insert(format!("{one}/{}", part.name), Value::Object(item));
    }
}

/// A document of one path that answers with something else than objects.
pub(super) fn plain_path(path: &str, about: &str) -> Value {
    let answer = json!({"200": {"description": "OK", "content": {JSON: {"schema": {"type": "object"}}}}});
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": {path: {"get": {"description": format!("get {about}"), "responses": answer}}},
    })
}

struct Writer<'a, 'b> {
    components: &'a mut Components<'b>,
    kind: &'a Kind,
}

impl Writer<'_, '_> {
    /// The operation of a verb on the resource itself.
    fn operation(&mut self, verb: &str, scope: &str) -> Value {
        let type_meta = self.kind.type_meta.clone();
        let object = self.components.object(&type_meta);
        let (action, answer) = match verb {
            "list" => ("list", self.components.list(&type_meta)),
            "create" => ("post", object.clone()),
            "update" => ("put", object.clone()),
            "delete" => ("delete", Some(self.components.meta("Status"))),
            "deletecollection" => ("deletecollection", Some(self.components.meta("Status"))),
            other => (other, object.clone()),
        };
        let id = format!("{verb}{}{scope}{}", camel(&type_meta), self.kind.kind);
        self.write(verb, action, &type_meta, &id, object, answer)
    }

    /// The operation of a verb on a subresource.
    fn part_operation(&mut self, part: &Subresource, verb: &str, scope: &str) -> Value {
        let connection = CONNECTIONS.contains(&part.name.as_str());
        let object = if connection { None } else { self.components.object(&part.kind) };
        let action = match verb {
            _ if connection => "connect",
            "create" => "post",
            "update" => "put",
            other => other,
        };
        let id = format!("{verb}{}{scope}{}{}", camel(&self.kind.type_meta), self.kind.kind, capital(&part.name));
        self.write(verb, action, &part.kind, &id, object.clone(), object)
    }

    fn write(
        &mut self,
        verb: &str,
        action: &str,
        type_meta: &TypeMeta,
        id: &str,
        object: Option<Value>,
        answer: Option<Value>,
    ) -> Value {
        let lists: &[Parameters] = match verb {
            _ if action == "connect" => &[],
            "create" | "update" => &[WRITE],
            "patch" => &[WRITE, FORCE],
            "list" => &[LIST],
            "delete" => &[DELETE],
            "deletecollection" => &[LIST, DELETE],
            _ => &[],
        };
        let parameters = lists.iter().copied().flatten().map(|(name, type_name)| query(name, type_name));
        let mut operation = json!({
            "operationId": id,
            "responses": {"200": {"description": "OK", "content": content(answer)}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind_extension(type_meta),
        });
        let parameters: Vec<Value> = parameters.collect();
        if !parameters.is_empty() {
            operation["parameters"] = Value::from(parameters);
        }
        match verb {
            "create" | "update" if object.is_some() => {
                operation["requestBody"] = json!({"content": {"*/*": {"schema": object}}, "required": true});
            }
            "patch" if action != "connect" => operation["requestBody"] = self.patch_body(),
            "delete" | "deletecollection" if action != "connect" => {
                let options = self.components.meta("DeleteOptions");
                operation["requestBody"] = json!({"content": {"*/*": {"schema": options}}});
            }
            _ => {}
        }
        operation
    }

    /// Clients choose how they patch by what is listed here.
    fn patch_body(&mut self) -> Value {
        let patch = self.components.meta("Patch");
        let types = [PatchType::Apply, PatchType::Json, PatchType::Merge, PatchType::Strategic];
        let types = types.into_iter().filter(|patch| self.kind.builtin || *patch != PatchType::Strategic);
        let content: Map<String, Value> =
            types.map(|kind| (kind.content_type().to_owned(), json!({"schema": patch}))).collect();
        json!({"content": content, "required": true})
    }
}

fn content(schema: Option<Value>) -> Value {
    match schema {
        Some(schema) => {
            [JSON, YAML, PROTOBUF].map(|media| (media.to_owned(), json!({"schema": schema}))).into_iter().collect()
        }
        None => json!({"*/*": {"schema": {"type": "string"}}}),
    }
}

fn query(name: &str, type_name: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": type_name, "uniqueItems": true}})
}

fn path_parameters(namespaced: bool, named: bool) -> Value {
    let in_path = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}});
    let mut parameters = Vec::new();
    if named {
        parameters.push(in_path("name"));
    }
    if namespaced {
        parameters.push(in_path("namespace"));
    }
    parameters.push(query("pretty", "string"));
    Value::from(parameters)
}

/// A group version as part of an operation's name: `CoreV1`, `RbacAuthorizationV1`.
fn camel(type_meta: &TypeMeta) -> String {
    let group = match type_meta.group() {
        "" => "core",
        group => group.strip_suffix(".k8s.io").unwrap_or(group),
    };
    group.split('.').map(capital).collect::<String>() + &capital(type_meta.version())
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}
