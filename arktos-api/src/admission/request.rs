//! A request as policies and webhooks see it: what of their rules it matches, and what they are told of it.

use std::sync::{Arc, OnceLock};

use arktos_core::catalog::Kind;
use arktos_core::cel::{Question, Scope as Names};
use arktos_core::{LabelSelector, Object, Scope, Status};
use serde_json::{Value, json};

use super::Review;
use super::declared::{Matching, Rule, Selector};
use super::rights::Rights;
use crate::call::Call;
use crate::verbs::create::namespace_key;
use crate::verbs::modify::Part;

/// What of a request rules are about. It is there before anything is made of the objects: most rules are about
/// something else.
pub(super) struct Target<'a> {
    pub(super) call: &'a Call<'a>,
    operation: &'static str,
    subresource: &'a str,
    name: String,
    /// What the resource is called in other versions. Found when the first rule is about none that the client speaks.
    others: OnceLock<Vec<Arc<Kind>>>,
}

impl<'a> Target<'a> {
    /// What `operation` is done to a part of the object of a name.
    pub(super) fn of(call: &'a Call<'a>, operation: &'static str, part: Part<'a>, name: &str) -> Self {
        let (subresource, name) = (subresource(part), name.to_owned());
        Self { call, operation, subresource, name, others: OnceLock::new() }
    }

    /// Whether the rules of a policy or a binding are about it.
    pub(super) fn fits(&self, matching: Option<&Matching>) -> bool {
        let Some(matching) = matching else { return true };
        let equivalent = matching.match_policy != "Exact";
        let rules = &matching.resource_rules;
        (rules.is_empty() || self.matches(rules, equivalent))
            && !self.matches(&matching.exclude_resource_rules, equivalent)
    }

    /// Whether one of some rules is about it. Where `equivalent`, a rule about another version of the resource is as
    /// well.
    pub(super) fn matches(&self, rules: &[Rule], equivalent: bool) -> bool {
        rules.iter().any(|rule| self.matches_rule(rule, equivalent))
    }

    fn matches_rule(&self, rule: &Rule, equivalent: bool) -> bool {
        let lists = |list: &[String], value: &str| list.iter().any(|one| one == "*" || one == value);
        let kind = &self.call.kind;
        let in_namespace = kind.scope == Scope::Namespace;
        let in_scope = match rule.scope.as_str() {
            "Namespaced" => in_namespace,
            "Cluster" => !in_namespace,
            _ => true,
        };
        let is_version = |kind: &Kind| lists(&rule.api_groups, &kind.group) && lists(&rule.api_versions, &kind.version);
        lists(&rule.operations, self.operation)
            && in_scope
            && (rule.resource_names.is_empty() || rule.resource_names.contains(&self.name))
            && self.is_resource(&rule.resources) // it has this name in all versions
            && (is_version(kind) || (equivalent && self.others().iter().any(|other| is_version(other))))
    }

    fn is_resource(&self, patterns: &[String]) -> bool {
        let resource = &self.call.kind.resource;
        patterns.iter().any(|pattern| {
            let (wanted, part) = pattern.split_once('/').unwrap_or((pattern.as_str(), ""));
            (wanted == "*" || wanted == *resource) && (part == "*" || part == self.subresource)
        })
    }

    fn others(&self) -> &[Arc<Kind>] {
        self.others.get_or_init(|| {
            let kind = &self.call.kind;
            let mut versions = self.call.state.kinds.versions(self.call.tenant.as_ref(), kind);
            versions.retain(|other| !Arc::ptr_eq(other, kind));
            versions
        })
    }
}

/// A write, in the version of the object that the client speaks.
pub(super) struct Request<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) operation: &'static str,
    pub(super) subresource: String,
    /// The name of the object, also where the call does not know it yet.
    pub(super) name: String,
    pub(super) old: Option<Object>,
    pub(super) new: Option<Object>,
    /// The kind of what a connection is asked for with, which stands for the object then.
    connects_with: Option<&'static str>,
    /// The namespace it is in; absent for what is in none, namespaces included.
    namespace: Option<Object>,
    /// What every expression about it knows. Made when the first one is.
    known: OnceLock<Names>,
    /// What every webhook is told of the object. Made when the first one is.
    told: OnceLock<String>,
}

impl<'a> Request<'a> {
    pub(super) fn of(call: &'a Call<'a>, review: &Review<'_>) -> Result<Self, Status> {
        let shown = |object: &Object| {
            let mut object = object.clone();
            object.gather();
            if !call.kind.storage {
                object = arktos_core::rules::convert::from_storage(&call.kind, object);
            }
            object.set(&["apiVersion"], call.kind.type_meta.api_version.as_str());
            object.set(&["kind"], call.kind.type_meta.kind.as_str());
            object
        };
        Ok(Self {
            call,
            operation: review.operation(),
            subresource: subresource(review.part).to_owned(),
            name: review.name().to_owned(),
            old: review.old.map(shown),
            new: review.new.map(shown),
            connects_with: None,
            namespace: namespace(call)?,
            known: OnceLock::new(),
            told: OnceLock::new(),
        })
    }

    /// A connection through a subresource, asked for with options of a kind.
    pub(super) fn connection(
        call: &'a Call<'a>,
        subresource: &str,
        (kind, options): (&'static str, Object),
    ) -> Result<Self, Status> {
        Ok(Self {
            call,
            operation: "CONNECT",
            subresource: subresource.to_owned(),
            name: call.name.to_string(),
            old: None,
            new: Some(options),
            connects_with: Some(kind),
            namespace: namespace(call)?,
            known: OnceLock::new(),
            told: OnceLock::new(),
        })
    }

    /// Whether the namespace that the object is in (or is) is one of those that are selected.
    pub(super) fn in_namespaces(&self, selector: &Selector) -> Result<bool, String> {
        let Some(selector) = selector.get()? else { return Ok(true) };
        let own = || self.new.as_ref().or(self.old.as_ref());
        let namespace = match self.call.kind.storage_resource.as_str() {
            "namespaces" => own(),
            _ if self.call.kind.scope == Scope::Namespace => self.namespace.as_ref(),
            _ => return Ok(true),
        };
        Ok(namespace.is_some_and(|namespace| has_labels(selector, namespace)))
    }

    /// Whether the object is one of those that are selected, before or after.
    pub(super) fn is_object(&self, selector: &Selector) -> Result<bool, String> {
        let Some(selector) = selector.get()? else { return Ok(true) };
        Ok([&self.new, &self.old].into_iter().flatten().any(|object| has_labels(selector, object)))
    }

    /// What is said of the request, as `request` in expressions and in reviews.
    pub(super) fn said(&self, uid: &str) -> Value {
        let (call, kind) = (self.call, &self.call.kind);
        let mut user = json!({"username": call.identity.user, "groups": call.identity.groups});
        if !call.identity.uid.is_empty() {
            user["uid"] = json!(call.identity.uid);
        }
        if !call.identity.extra.is_empty() {
            user["extra"] = json!(call.identity.extra);
        }
        let types = match self.connects_with {
            Some(options) => json!({"group": "", "version": "v1", "kind": options}),
            None => json!({"group": kind.group, "version": kind.version, "kind": kind.kind}),
        };
        let resource = json!({"group": kind.group, "version": kind.version, "resource": kind.resource});
        let options = match self.operation {
            "CREATE" => "CreateOptions",
            "UPDATE" => "UpdateOptions",
            _ => "DeleteOptions",
        };
        let mut options = json!({"apiVersion": "meta.k8s.io/v1", "kind": options});
        if call.options.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        if self.connects_with.is_some() {
            options = Value::Null;
        }
        let mut said = json!({
            "uid": uid, "kind": types, "resource": resource, "requestKind": types, "requestResource": resource,
            "operation": self.operation, "userInfo": user, "dryRun": call.options.dry_run, "options": options,
        });
        let texts = [
            ("name", self.name.as_str()),
            ("namespace", if kind.resource == "namespaces" { &self.name } else { &*call.namespace }),
            ("subResource", &*self.subresource),
            ("requestSubResource", &*self.subresource),
        ];
        for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            said[field] = json!(text);
        }
        said
    }

    /// What is said of the object, as it was and as it is to be: `"object":…,"oldObject":…`. It may be megabytes, and
    /// there may be many webhooks.
    pub(super) fn told_of_objects(&self) -> &str {
        self.told.get_or_init(|| {
            let text = |object: &Option<Object>| match object {
                Some(object) => serde_json::to_string(&object.fields).unwrap_or_default(),
                None => "null".to_owned(),
            };
            format!("\"object\":{},\"oldObject\":{}", text(&self.new), text(&self.old))
        })
    }

    /// What the request is about, as `authorizer.requestResource` asks of it.
    fn about(&self) -> Question {
        let kind = &self.call.kind;
        Question {
            group: kind.group.clone(),
            resource: kind.resource.clone(),
            subresource: self.subresource.clone(),
            namespace: if kind.resource == "namespaces" { &self.name } else { &*self.call.namespace }.to_owned(),
            name: self.name.clone(),
            ..Question::default()
        }
    }

    /// The names that every expression about the request knows.
    pub(super) fn names(&self) -> Names {
        self.known.get_or_init(|| self.make_names()).again()
    }

    fn make_names(&self) -> Names {
        let value =
            |object: &Option<Object>| object.as_ref().map_or(Value::Null, |one| Value::Object(one.fields.clone()));
        let mut names = Names::paid_from(&self.call.purse);
        names.set("object", &value(&self.new));
        names.set("oldObject", &value(&self.old));
        names.set("namespaceObject", &value(&self.namespace));
        names.set("request", &self.said(""));
        names.set_authorizer(Arc::new(Rights::of(self.call)), self.about());
        names
    }
}

fn subresource(part: Part<'_>) -> &str {
    match part {
        Part::Whole => "",
        Part::Status => "status",
        Part::Other(name) => name,
    }
}

/// The namespace that is asked about; absent for what is in none.
fn namespace(call: &Call<'_>) -> Result<Option<Object>, Status> {
    let (Scope::Namespace, Some(tenant)) = (call.kind.scope, call.tenant.as_ref()) else { return Ok(None) };
    let found = call.state.config.engine.snapshot().get(&namespace_key(tenant, &call.namespace));
    found.map(|stored| stored.object.decode(Some(stored.revision)).map_err(Status::internal)).transpose()
}

fn has_labels(selector: &LabelSelector, object: &Object) -> bool {
    let labels = object.at(&["metadata", "labels"]).and_then(Value::as_object);
    selector.matches(|key| labels?.get(key)?.as_str())
}
