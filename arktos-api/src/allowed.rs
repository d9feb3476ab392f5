//! Which verbs a path of a kind has.

use arktos_core::catalog::Kind;
use arktos_core::{Reason, Scope, Status};
use http::{Method, Response};

use crate::body::Body;
use crate::paths;
use crate::query::method_not_allowed;
use crate::request::{ResourceInfo, not_found};
use crate::resource::Verb;

/// Whether the kind, or its subresource, has the verb; what is answered where nothing is.
///
/// # Errors
/// 404, 405.
pub(crate) fn allowed(
    kind: &Kind,
    resource: &ResourceInfo,
    verb: Option<Verb>,
    method: &Method,
) -> Result<Result<Verb, Response<Body>>, Status> {
    if kind.builtin { of_builtin(kind, resource, verb, method).map(Ok) } else { of_custom(kind, resource, verb) }
}

fn of_builtin(kind: &Kind, resource: &ResourceInfo, verb: Option<Verb>, method: &Method) -> Result<Verb, Status> {
    // A namespace is inside itself, and no other one is: a right in one is none to the others.
    let is_itself = resource.resource == "namespaces" && resource.name == resource.namespace;
    if kind.scope != Scope::Namespace && !resource.namespace.is_empty() && !is_itself {
        return Err(not_found());
    }
    if !resource.subresource.is_empty() {
        let subresource = kind.subresource(&resource.subresource).ok_or_else(not_found)?;
        if resource.subresource == "proxy" && (*method == Method::HEAD || *method == Method::OPTIONS) {
            return Ok(Verb::Get); // whatever can be asked goes on to who is asked
        }
        let verb = verb.ok_or_else(method_not_allowed)?;
        if *method == Method::HEAD {
            return Err(method_not_allowed());
        }
        let has = |name: &str| subresource.verbs.iter().any(|known| known == name);
        return if has(verb.name()) { Ok(verb) } else { Err(method_not_allowed()) };
    }
    let all_namespaces = kind.scope == Scope::Namespace && resource.namespace.is_empty();
    if all_namespaces && !resource.name.is_empty() {
        return Err(not_found());
    }
    let here: &[&str] = match (all_namespaces, resource.name.is_empty()) {
        (true, _) => &["list", "watch"],
        (false, true) => &["list", "watch", "create", "deletecollection"],
        (false, false) => &["get", "update", "patch", "delete"],
    };
    if !here.iter().any(|verb| kind.can(verb)) {
        return Err(not_found());
    }
    let verb = verb.filter(|_| *method != Method::HEAD).ok_or_else(method_not_allowed)?;
    if verb == Verb::Watch && kind.can("list") && !kind.can("watch") {
        return Err(not_supported(kind, verb.name())); // a list that is asked to go on
    }
    let misplaced = match verb {
        Verb::Create => !resource.name.is_empty() || all_namespaces,
        Verb::Update | Verb::Patch => resource.name.is_empty(),
        Verb::DeleteCollection => all_namespaces,
        _ => false,
    };
    if misplaced || !kind.can(verb.name()) { Err(method_not_allowed()) } else { Ok(verb) }
}

/// Custom kinds have no routes of their own upstream: one handler looks at the verb, and says of it what it is not for.
fn of_custom(kind: &Kind, resource: &ResourceInfo, verb: Option<Verb>) -> Result<Result<Verb, Response<Body>>, Status> {
    let is_namespaced = kind.scope == Scope::Namespace;
    let across = matches!(verb, Some(Verb::List | Verb::Watch));
    if is_namespaced == resource.namespace.is_empty() && !(is_namespaced && across) {
        return Ok(Err(paths::nothing_there()));
    }
    let is_part = !resource.subresource.is_empty();
    if is_part && kind.subresource(&resource.subresource).is_none() {
        return Err(Status::not_found(&kind.group_resource, &resource.name));
    }
    match verb {
        Some(Verb::Get | Verb::Update | Verb::Patch) if is_part => {}
        Some(Verb::Update | Verb::Patch) if resource.name.is_empty() => {
            return Err(Status::bad_request("name must be provided"));
        }
        Some(verb) if !is_part && kind.can(verb.name()) => {}
        other => return Err(not_supported(kind, other.map_or("", Verb::name))),
    }
    Ok(verb.ok_or_else(paths::nothing_there))
}

fn not_supported(kind: &Kind, verb: &str) -> Status {
    let message = format!("{verb} is not supported on resources of kind \"{}\"", kind.group_resource);
    let mut status = Status::failure(Reason::MethodNotAllowed, message);
    let details = status.details.get_or_insert_default();
    kind.group_resource.group().clone_into(&mut details.group);
    kind.group_resource.resource().clone_into(&mut details.kind);
    status
}
