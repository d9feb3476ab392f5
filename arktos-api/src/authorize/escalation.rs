//! Nobody gives rights away that they do not have.

use arktos_core::{GroupResource, Object, Scope, Status};
use serde_json::Value;

use super::rbac::{Parsed, Rule};
use super::{Attributes, Decision};
use crate::call::Call;

const GROUP: &str = "rbac.authorization.k8s.io";
/// How many rights of one verb, group, resource and name each are looked at: a rule gives each of its verbs for each of
/// its resources, so that a few thousand texts are more than there is memory for.
const PARTS_MAX: usize = 100_000;
/// How many texts of the asker's own rules are compared with them, in all.
const COMPARED_MAX: usize = 50_000_000;
/// How many rights that are missing are told.
const TOLD_MAX: usize = 250;

/// Checks a new or changed role or binding (`old`: as it was); other kinds pass.
///
/// # Errors
/// 403 for rights that the asker does not have, 404 for a role that is not there.
pub(crate) fn check(call: &Call<'_>, old: Option<&Object>, object: &Object) -> Result<(), Status> {
    let verb = match call.kind.storage_resource.as_str() {
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => "escalate",
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => "bind",
        _ => return Ok(()),
    };
    if old.is_some_and(|old| alike(old, object)) {
        return Ok(());
    }
    let tenant = call.one_tenant()?;
    let parsed: Parsed = object.decode().map_err(|error| Status::bad_request(error.to_string()))?;
    let namespace = if call.kind.scope == Scope::Namespace { &*call.namespace } else { "" };
    let asked = Attributes { verb, tenant: Some(tenant), group: GROUP, namespace, ..Attributes::default() };
    let (resource, name) = if verb == "escalate" {
        (call.kind.resource.as_str(), object.name())
    } else {
        let plural = if parsed.role_ref.kind == "ClusterRole" { "clusterroles" } else { "roles" };
        (plural, parsed.role_ref.name.as_str())
    };
    let allowed = call.state.authorizer.decide(call.identity, &Attributes { resource, name, ..asked });
    if matches!(allowed, Decision::Allow(_)) {
        return Ok(());
    }
    let rules = if verb == "escalate" {
        parsed.rules
    } else {
        let rules = call.state.authorizer.rules().role_rules(tenant, namespace, &parsed.role_ref);
        rules.ok_or_else(|| Status::not_found(&call.kind.group_resource, &parsed.role_ref.name))?
    };
    let (own, lost) = call.state.authorizer.rules().of(call.identity, tenant, namespace);
    let forbidden =
        |why: String| Status::forbidden(&GroupResource::new(GROUP, &call.kind.resource), object.name(), why);
    let too_many = || forbidden("its rules are too many to compare with those of the user: make several".to_owned());
    let missing_rules = missing(&rules, &own).ok_or_else(too_many)?;
    if missing_rules.is_empty() {
        // What a role will gather nobody can tell, and who changes one that gathers may take its end away.
        let gathers = call.kind.resource == "clusterroles" && (gathers(object) || old.is_some_and(gathers));
        if gathers && missing(&everything(), &own).is_none_or(|missing| !missing.is_empty()) {
            return Err(forbidden("must have cluster-admin privileges to use the aggregationRule".to_owned()));
        }
        return Ok(());
    }
    let lost = lost.map_or_else(String::new, |lost| format!("; resolution errors: [{lost}]"));
    let why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}{lost}",
        call.identity.user,
        call.identity.groups.iter().map(|group| format!("{group:?}")).collect::<Vec<_>>().join(" "),
        missing_rules.join("\n")
    );
    Err(forbidden(why))
}

/// Whether two states differ in nothing but what garbage collection goes by: who may change that need not have the
/// rights. Labels are none of it: by them a role is gathered into others.
fn alike(old: &Object, new: &Object) -> bool {
    let rest = |object: &Object| {
        let mut fields = object.fields.clone();
        if let Some(Value::Object(meta)) = fields.get_mut("metadata") {
            for field in ["finalizers", "ownerReferences", "managedFields"] {
                meta.remove(field);
            }
        }
        fields
    };
    rest(old) == rest(new)
}

/// Whether a cluster role is made of others.
fn gathers(role: &Object) -> bool {
    let selectors = role.at(&["aggregationRule", "clusterRoleSelectors"]).and_then(Value::as_array);
    selectors.is_some_and(|selectors| !selectors.is_empty())
}

/// All there is.
fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}

/// What `own` rules do not give of `wanted` ones: one line for each group and resource, as upstream writes them. None
/// where that would be too much to find out.
fn missing(wanted: &[Rule], own: &[Rule]) -> Option<Vec<String>> {
    if wanted.iter().map(count).fold(0, usize::saturating_add) > PARTS_MAX {
        return None;
    }
    let mut lines: Vec<(Rule, Vec<String>)> = Vec::new();
    let mut compared = 0;
    for rule in wanted.iter().flat_map(parts) {
        let covers = |own: &Rule| {
            compared += own.texts();
            own.covers(&rule)
        };
        let covered = own.iter().any(covers);
        if compared > COMPARED_MAX {
            return None;
        }
        if covered {
            continue;
        }
        let verbs = rule.verbs.clone();
        let place = Rule { verbs: Vec::new(), ..rule };
        let many = lines.len() >= TOLD_MAX;
        match lines.iter_mut().find(|(known, _)| *known == place) {
            Some((_, known)) if known.len() >= TOLD_MAX => {}
            Some((_, known)) => {
                let more: Vec<String> = verbs.into_iter().filter(|verb| !known.contains(verb)).collect();
                known.extend(more);
            }
            None if many => {}
            None => lines.push((place, verbs)),
        }
    }
    let mut lines: Vec<String> = lines.into_iter().map(|(place, verbs)| line(&place, &verbs)).collect();
    lines.sort();
    Some(lines)
}

/// How many [`parts`] a rule has.
fn count(rule: &Rule) -> usize {
    let all = [rule.api_groups.len(), rule.resources.len(), rule.resource_names.len().max(1)];
    let places = all.into_iter().fold(1, usize::saturating_mul).saturating_add(rule.non_resource_urls.len());
    places.saturating_mul(rule.verbs.len())
}

/// A rule as rules of one verb, group, resource and name (or path) each.
fn parts(rule: &Rule) -> Vec<Rule> {
    let mut parts = Vec::new();
    let names: Vec<Vec<String>> = if rule.resource_names.is_empty() {
        vec![Vec::new()]
    } else {
        rule.resource_names.iter().map(|name| vec![name.clone()]).collect()
    };
    for verb in &rule.verbs {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                for names in &names {
                    parts.push(Rule {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        resource_names: names.clone(),
                        non_resource_urls: Vec::new(),
                    });
                }
            }
        }
        for url in &rule.non_resource_urls {
            let non_resource_urls = vec![url.clone()];
            parts.push(Rule { verbs: vec![verb.clone()], non_resource_urls, ..Rule::default() });
        }
    }
    parts
}

fn line(place: &Rule, verbs: &[String]) -> String {
    let list = |name: &str, values: &[String]| {
        let values = values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" ");
        format!("{name}:[{values}]")
    };
    let mut fields = Vec::new();
    if !place.api_groups.is_empty() {
        fields.push(list("APIGroups", &place.api_groups));
    }
    if !place.resources.is_empty() {
        fields.push(list("Resources", &place.resources));
    }
    if !place.resource_names.is_empty() {
        fields.push(list("ResourceNames", &place.resource_names));
    }
    if !place.non_resource_urls.is_empty() {
        fields.push(list("NonResourceURLs", &place.non_resource_urls));
    }
    fields.push(list("Verbs", verbs));
    format!("{{{}}}", fields.join(", "))
}
