//! The operations of a path, and what documents say of them.

use arktos_core::TypeMeta;
use serde_json::{Map, Value, json};

use super::schemas::kind_extension;
use crate::negotiate::{JSON, PROTOBUF, STREAM_TYPES, YAML};

/// A parameter: its name, where it stands and the JSON type of its value.
pub(super) type Parameter = (&'static str, &'static str, &'static str);

/// Media types in the order in which v2 lists them.
pub(super) const ORDER: [&str; 12] = [
    "*/*",
    "text/plain",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    JSON,
    YAML,
    PROTOBUF,
    STREAM_TYPES[0],
    STREAM_TYPES[1],
    "application/jwk-set+json",
];

/// An operation.
pub(super) struct Route {
    /// The HTTP method, in lower case.
    pub(super) method: &'static str,
    /// The verb, and what follows the group and version in the operation's name.
    pub(super) name: (&'static str, String),
    /// What it does to which type; nothing for what is no resource.
    pub(super) action: Option<(&'static str, TypeMeta)>,
    /// Its parameters, but those of the path.
    pub(super) parameters: Vec<Parameter>,
    /// What it takes, if anything.
    pub(super) body: Option<Value>,
    /// The media types of its answers.
    pub(super) produces: Vec<&'static str>,
    /// Its answers.
    pub(super) answers: &'static [u16],
    /// What its answers are.
    pub(super) answer: Value,
}

/// The media types in which objects are there: custom ones have no messages in protobuf.
pub(super) fn forms(custom: bool, streams: bool) -> Vec<&'static str> {
    let mut all = vec![JSON, YAML];
    if !custom {
        all.push(PROTOBUF);
        if streams {
            all.extend(STREAM_TYPES);
        }
    }
    all
}

/// A text of these media types.
pub(super) fn content(types: &[&'static str], schema: &Value) -> Value {
    types.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect()
}

/// Adds a path. What all its operations take is said once.
pub(super) fn add(paths: &mut Map<String, Value>, path: String, mut routes: Vec<Route>) {
    for (mark, name) in [("{name}", "name"), ("{namespace}", "namespace"), ("{path}", "path")] {
        if path.contains(mark) {
            routes.iter_mut().for_each(|route| route.parameters.push((name, "path", "string")));
        }
    }
    let all = routes.iter().flat_map(|route| &route.parameters);
    let mut shared: Vec<Parameter> =
        all.filter(|one| routes.iter().all(|it| it.parameters.contains(one))).copied().collect();
    let mut item: Map<String, Value> =
        routes.iter().map(|route| (route.method.to_owned(), operation(&path, route, &shared))).collect();
    shared.sort_unstable();
    shared.dedup();
    if !shared.is_empty() {
        item.insert("parameters".to_owned(), parameters(shared));
    }
    if !item.is_empty() {
        paths.insert(path, Value::Object(item));
    }
}

fn operation(path: &str, route: &Route, shared: &[Parameter]) -> Value {
    let mut responses: Map<String, Value> = route
        .answers
        .iter()
        .map(|code| {
            let content = content(&route.produces, &route.answer);
            (code.to_string(), json!({"description": reason(*code), "content": content}))
        })
        .collect();
    responses.insert("401".to_owned(), json!({"description": reason(401)}));
    let (id, tag) = names(path, route.name.0, &route.name.1);
    let mut operation = json!({"tags": [tag], "operationId": id, "responses": responses});
    let mut own: Vec<Parameter> = route.parameters.iter().filter(|one| !shared.contains(one)).copied().collect();
    if !own.is_empty() {
        own.sort_unstable();
        operation["parameters"] = parameters(own);
    }
    if let Some((action, type_meta)) = &route.action {
        operation["x-kubernetes-action"] = Value::from(*action);
        operation["x-kubernetes-group-version-kind"] = kind_extension(type_meta);
    }
    if let Some(body) = &route.body {
        operation["requestBody"] = body.clone();
    }
    operation
}

fn reason(code: u16) -> &'static str {
    match code {
        201 => "Created",
        202 => "Accepted",
        401 => "Unauthorized",
        _ => "OK",
    }
}

fn parameters(all: Vec<Parameter>) -> Value {
    let one = |(name, place, type_name): Parameter| {
        let mut one = json!({"name": name, "in": place, "schema": {"type": type_name, "uniqueItems": true}});
        if place == "path" {
            one["required"] = Value::Bool(true);
        }
        one
    };
    all.into_iter().map(one).collect()
}

/// An operation's name, such as `readAppsV1NamespacedDeployment`, and its tag, such as `apps_v1`: the group and version
/// stand behind the verb.
fn names(path: &str, verb: &str, rest: &str) -> (String, String) {
    let mut parts = path.trim_matches('/').split('/');
    let (group, version) = match parts.next().unwrap_or_default() {
        "api" => ("core", parts.next()),
        "apis" => match parts.next() {
            Some(group) => (group, parts.next()),
            None => return (format!("{verb}{rest}"), "apis".to_owned()),
        },
        other => return (format!("{verb}{rest}"), word(other, false)),
    };
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    let version = version.unwrap_or_default();
    let id = format!("{verb}{}{}{}", word(group, true), word(version, true), word(rest, true));
    let tag = if version.is_empty() {
        word(group, false)
    } else {
        format!("{}_{}", word(group, false), word(version, false))
    };
    (id, tag)
}

/// A text as part of a name: letters and digits alone, with a capital after all else.
fn word(text: &str, mut capital: bool) -> String {
    let mut word = String::new();
    for (place, letter) in text.char_indices() {
        if letter.is_alphabetic() || letter == '_' || place > 0 && letter.is_numeric() {
            if capital {
                word.extend(letter.to_uppercase());
            } else {
                word.push(letter);
            }
            capital = false;
        } else {
            capital = true;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_named_by_verb_group_and_version() {
        let named = |path: &str, verb, rest| names(path, verb, rest);
        let pair = |id: &str, tag: &str| (id.to_owned(), tag.to_owned());
        let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
        assert_eq!(
            named(rbac, "list", "ClusterRole"),
            pair("listRbacAuthorizationV1ClusterRole", "rbacAuthorization_v1")
        );
        assert_eq!(named("/api/v1/nodes/{name}", "read", "Node"), pair("readCoreV1Node", "core_v1"));
        let custom = "/apis/a-b.example.com/v1beta1/namespaces/{namespace}/foos";
        let wanted = pair("deleteABExampleComV1beta1CollectionNamespacedFoo", "aBExampleCom_v1beta1");
        assert_eq!(named(custom, "delete", "collectionNamespacedFoo"), wanted);
        assert_eq!(named("/apis/apps/", "get", "APIGroup"), pair("getAppsAPIGroup", "apps"));
        assert_eq!(named("/apis/", "get", "APIVersions"), pair("getAPIVersions", "apis"));
        assert_eq!(named("/version/", "get", "CodeVersion"), pair("getCodeVersion", "version"));
        let open = pair("getServiceAccountIssuerOpenIDConfiguration", "WellKnown");
        assert_eq!(named("/.well-known/openid-configuration/", "get", "ServiceAccountIssuerOpenIDConfiguration"), open);
    }
}
