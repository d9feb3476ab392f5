//! The operations on the resources of a group version, and on what is no resource.

use arktos_core::catalog::{Kind, Subresource};
use arktos_core::{Scope, TypeMeta};
use serde_json::{Map, Value, json};

use super::routes::{self, Parameter, Route, content, forms};
use super::schemas::Components;
use crate::negotiate::{JSON, PatchType};

const PRETTY: Parameter = ("pretty", "query", "string");
const WRITE: [Parameter; 3] =
    [("dryRun", "query", "string"), ("fieldManager", "query", "string"), ("fieldValidation", "query", "string")];
const FORCE: Parameter = ("force", "query", "boolean");
const LIST: [Parameter; 10] = [
    ("continue", "query", "string"),
    ("fieldSelector", "query", "string"),
    ("labelSelector", "query", "string"),
    ("limit", "query", "integer"),
    ("resourceVersion", "query", "string"),
    ("resourceVersionMatch", "query", "string"),
    ("sendInitialEvents", "query", "boolean"),
    ("shardSelector", "query", "string"),
    ("timeoutSeconds", "query", "integer"),
    PRETTY,
];
const WATCH: [Parameter; 2] = [("allowWatchBookmarks", "query", "boolean"), ("watch", "query", "boolean")];
const DELETE: [Parameter; 5] = [
    ("dryRun", "query", "string"),
    ("gracePeriodSeconds", "query", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "query", "boolean"),
    ("orphanDependents", "query", "boolean"),
    ("propagationPolicy", "query", "string"),
];
/// What the log of a pod is asked for with.
const LOG: [Parameter; 10] = [
    ("container", "query", "string"),
    ("follow", "query", "boolean"),
    ("insecureSkipTLSVerifyBackend", "query", "boolean"),
    ("limitBytes", "query", "integer"),
    ("previous", "query", "boolean"),
    ("sinceSeconds", "query", "integer"),
    ("stream", "query", "string"),
    ("tailLines", "query", "integer"),
    ("timestamps", "query", "boolean"),
    PRETTY,
];
/// What a connection to a container is asked for with.
const ATTACH: [Parameter; 5] = [
    ("container", "query", "string"),
    ("stderr", "query", "boolean"),
    ("stdin", "query", "boolean"),
    ("stdout", "query", "boolean"),
    ("tty", "query", "boolean"),
];
/// The same, and what is to be run in it.
const EXEC: [Parameter; 6] = [("command", "query", "string"), ATTACH[0], ATTACH[1], ATTACH[2], ATTACH[3], ATTACH[4]];
/// Subresources that are a connection to a container, a node or a service, and what they are asked for with.
const CONNECTIONS: [(&str, &[Parameter]); 4] = [
    ("attach", &ATTACH),
    ("exec", &EXEC),
    ("portforward", &[("ports", "query", "integer")]),
    ("proxy", &[("path", "query", "string")]),
];
/// Resources of which a deletion answers with the object.
const ANSWERED_WITH: [(&str, &[&str]); 3] = [
    (
        "",
        &[
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "podtemplates",
            "resourcequotas",
            "serviceaccounts",
            "services",
        ],
    ),
    ("resource.k8s.io", &["deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"]),
    ("storage.k8s.io", &["csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"]),
];
/// The methods of verbs.
const METHODS: [(&str, &str); 5] =
    [("get", "get"), ("create", "post"), ("update", "put"), ("patch", "patch"), ("delete", "delete")];

/// Adds the paths of a kind below `root`, such as `/apis/apps/v1`.
pub(super) fn add(paths: &mut Map<String, Value>, components: &mut Components<'_>, root: &str, kind: &Kind) {
    let namespaced = kind.scope == Scope::Namespace;
    let scope = if namespaced { "Namespaced" } else { "" };
    let collection = format!("{}/{}", if namespaced { "/namespaces/{namespace}" } else { "" }, kind.resource);
    let mut writer = Writer { components, kind, custom: !kind.builtin };
    let watched = kind.can("watch") && kind.builtin;
    if namespaced && kind.can("list") {
        let all = format!("{}ForAllNamespaces", kind.kind);
        routes::add(paths, format!("{root}/{}", kind.resource), vec![writer.route("list", all)]);
        if watched {
            let route = writer.route("watchlist", format!("{}ListForAllNamespaces", kind.kind));
            routes::add(paths, format!("{root}/watch/{}", kind.resource), vec![route]);
        }
    }
    let name = format!("{scope}{}", kind.kind);
    let of_all = [("list", name.clone()), ("create", name.clone()), ("deletecollection", format!("collection{name}"))];
    let of_one = ["get", "update", "patch", "delete"].map(|verb| (verb, name.clone()));
    for (path, all) in [(collection.clone(), of_all.as_slice()), (format!("{collection}/{{name}}"), &of_one)] {
        let all = all.iter().filter(|(verb, _)| kind.can(verb));
        routes::add(paths, format!("{root}{path}"), all.map(|(verb, name)| writer.route(verb, name.clone())).collect());
    }
    if watched {
        let list = writer.route("watchlist", format!("{name}List"));
        routes::add(paths, format!("{root}/watch{collection}"), vec![list]);
        routes::add(paths, format!("{root}/watch{collection}/{{name}}"), vec![writer.route("watch", name.clone())]);
    }
    for part in &kind.subresources {
        let path = format!("{root}{collection}/{{name}}/{}", part.name);
        let name = format!("{name}{}", capital(&part.name));
        if let Some((_, parameters)) = CONNECTIONS.iter().find(|(known, _)| *known == part.name) {
            if part.name == "proxy" {
                let with_path = connections(part, &format!("{name}WithPath"), parameters);
                routes::add(paths, format!("{path}/{{path}}"), with_path);
            }
            routes::add(paths, path, connections(part, &name, parameters));
        } else {
            let verbs = METHODS.iter().filter(|(verb, _)| part.verbs.iter().any(|known| known == verb));
            routes::add(paths, path, verbs.map(|(verb, _)| writer.part(part, verb, name.clone())).collect());
        }
    }
}

/// The operations of a subresource that is a connection.
fn connections(part: &Subresource, name: &str, parameters: &[Parameter]) -> Vec<Route> {
    let methods = METHODS.iter().filter(|(verb, _)| part.verbs.iter().any(|known| known == verb));
    let more = if part.name == "proxy" { &["options", "head"][..] } else { &[] };
    let methods = methods.map(|(_, method)| *method).chain(more.iter().copied());
    let route = |method: &'static str| Route {
        method,
        name: ("connect", format!("{}{name}", capital(method))),
        action: Some(("connect", part.kind.clone())),
        parameters: parameters.to_vec(),
        body: None,
        produces: vec!["*/*"],
        answers: &[200],
        answer: json!({"type": "string"}),
    };
    methods.map(route).collect()
}

/// Adds the path of a document of discovery, such as `/apis/apps/`: what it is, and the rest of the operation's name.
pub(super) fn add_discovery(
    paths: &mut Map<String, Value>,
    components: &mut Components<'_>,
    path: &str,
    (type_name, name): (&str, &str),
) {
    let answer = components.meta(type_name);
    add_plain(paths, path, name, forms(false, false), answer);
}

/// Adds a path that answers with something else than objects.
pub(super) fn add_plain(
    paths: &mut Map<String, Value>,
    path: &str,
    name: &str,
    produces: Vec<&'static str>,
    answer: Value,
) {
    let route = Route {
        method: "get",
        name: ("get", name.to_owned()),
        action: None,
        parameters: Vec::new(),
        body: None,
        produces,
        answers: &[200],
        answer,
    };
    routes::add(paths, path.to_owned(), vec![route]);
}

struct Writer<'a, 'b> {
    components: &'a mut Components<'b>,
    kind: &'a Kind,
    custom: bool,
}

impl Writer<'_, '_> {
    /// The operation of a verb on the resource itself.
    fn route(&mut self, verb: &str, name: String) -> Route {
        let type_meta = self.kind.type_meta.clone();
        let object = self.components.object(&type_meta);
        let answer = match verb {
            "list" => self.components.list(&type_meta),
            "watch" | "watchlist" => Some(self.components.meta("WatchEvent")),
            "delete" if self.answers_with_itself() => object.clone(),
            "delete" | "deletecollection" => Some(self.components.meta("Status")),
            _ => object.clone(),
        };
        self.written(verb, name, (*type_meta).clone(), object, answer)
    }

    /// The operation of a verb on a subresource.
    fn part(&mut self, part: &Subresource, verb: &str, name: String) -> Route {
        let object = self.components.object(&part.kind);
        // Those of a custom kind all go by the kind.
        let type_meta = if self.custom { (*self.kind.type_meta).clone() } else { part.kind.clone() };
        let mut route = self.written(verb, name, type_meta, object.clone(), object);
        if part.name == "log" {
            route.produces.insert(0, "text/plain");
            route.answer = json!({"type": "string"});
            route.parameters = LOG.to_vec();
        }
        route
    }

    fn written(
        &mut self,
        verb: &str,
        name: String,
        type_meta: TypeMeta,
        object: Option<Value>,
        answer: Option<Value>,
    ) -> Route {
        let custom = self.custom;
        let takes = |parameters: &[&[Parameter]]| [&parameters.concat()[..], &[PRETTY]].concat();
        let (method, action, id, mut parameters, answers): (_, _, _, _, &'static [u16]) = match verb {
            "list" => ("get", "list", "list", takes(&[&LIST, &WATCH]), &[200]),
            "watch" => ("get", "watch", "watch", takes(&[&LIST, &WATCH]), &[200]),
            "watchlist" => ("get", "watchlist", "watch", takes(&[&LIST, &WATCH]), &[200]),
            "create" => ("post", "post", "create", takes(&[&WRITE]), &[200, 201, 202]),
            "update" => ("put", "put", "replace", takes(&[&WRITE]), &[200, 201]),
            "patch" if custom => ("patch", "patch", "patch", takes(&[&WRITE, &[FORCE]]), &[200]),
            "patch" => ("patch", "patch", "patch", takes(&[&WRITE, &[FORCE]]), &[200, 201]),
            "delete" => ("delete", "delete", "delete", takes(&[&DELETE]), &[200, 202]),
            "deletecollection" if custom => ("delete", "deletecollection", "delete", takes(&[&LIST, &WATCH]), &[200]),
            "deletecollection" => ("delete", "deletecollection", "delete", takes(&[&LIST, &DELETE]), &[200]),
            _ if custom => ("get", "get", "read", takes(&[&[("resourceVersion", "query", "string")]]), &[200]),
            _ => ("get", "get", "read", takes(&[]), &[200]),
        };
        parameters.sort_unstable();
        parameters.dedup();
        let consumes = if custom { forms(true, false) } else { vec!["*/*"] };
        let body = match verb {
            "create" | "update" => {
                object.map(|object| json!({"content": content(&consumes, &object), "required": true}))
            }
            "patch" => Some(self.patch_body()),
            "delete" => Some(json!({"content": content(&consumes, &self.components.meta("DeleteOptions"))})),
            "deletecollection" if !custom => {
                Some(json!({"content": content(&consumes, &self.components.meta("DeleteOptions"))}))
            }
            _ => None,
        };
        Route {
            method,
            name: (id, name),
            action: Some((action, type_meta)),
            parameters,
            body,
            produces: forms(custom, matches!(verb, "list" | "watch" | "watchlist")),
            answers,
            answer: answer.unwrap_or_else(|| json!({"type": "object"})),
        }
    }

    fn answers_with_itself(&self) -> bool {
        let group = ANSWERED_WITH.iter().find(|(group, _)| *group == self.kind.group);
        self.kind.builtin && group.is_some_and(|(_, all)| all.contains(&self.kind.resource.as_str()))
    }

    /// Clients choose how they patch by what is listed here.
    fn patch_body(&mut self) -> Value {
        let patch = self.components.meta("Patch");
        let types = [PatchType::Apply, PatchType::Json, PatchType::Merge, PatchType::Strategic];
        let types = types.into_iter().filter(|patch| !self.custom || *patch != PatchType::Strategic);
        let types: Vec<&'static str> = types.map(PatchType::content_type).collect();
        json!({"content": content(&types, &patch), "required": true})
    }
}

/// The paths of what is no resource, each a document of its own: its path, the rest of the operation's name, the media
/// type of the answer, and its type, which is a text when nothing is said.
pub(super) const PLAIN: [(&str, &str, &str, Option<&str>); 3] = [
    ("/.well-known/openid-configuration/", "ServiceAccountIssuerOpenIDConfiguration", JSON, None),
    ("/openid/v1/jwks/", "ServiceAccountIssuerOpenIDKeyset", "application/jwk-set+json", None),
    ("/version/", "CodeVersion", JSON, Some("io.k8s.apimachinery.pkg.version.Info")),
];

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}
