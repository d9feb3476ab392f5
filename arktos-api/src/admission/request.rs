//! A request as policies and webhooks see it: what of their rules it matches, and what they are told of it.

use std::sync::{Arc, OnceLock};

use arktos_core::cel::{Question, Scope as Names};
use arktos_core::selector::LabelSelectorSpec;
use arktos_core::{Object, Scope, Status};
use serde_json::{Value, json};

use super::Review;
use super::rights::Rights;
use crate::call::Call;
use crate::verbs::create::namespace_key;
use crate::verbs::modify::Part;

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
        let object = review.new.or(review.old);
        Ok(Self {
            call,
            operation: match (review.old, review.new) {
                (None, _) => "CREATE",
                (Some(_), Some(_)) => "UPDATE",
                (Some(_), None) => "DELETE",
            },
            subresource: match review.part {
                Part::Whole => "",
                Part::Status => "status",
                Part::Other(name) => name,
            }
            .to_owned(),
            name: object.map(|object| object.name().to_owned()).unwrap_or_default(),
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

    /// Whether one of some rules is about the request. Where `equivalent`, a rule about another version of the resource
    /// is as well.
    pub(super) fn matches_rules(&self, rules: &Value, equivalent: bool) -> bool {
        rules.as_array().into_iter().flatten().any(|rule| self.matches_rule(rule, equivalent))
    }

    fn matches_rule(&self, rule: &Value, equivalent: bool) -> bool {
        let kind = &self.call.kind;
        let lists = |field: &str, value: &str| {
            rule[field].as_array().is_some_and(|list| list.iter().any(|one| one == "*" || one == value))
        };
        let in_namespace = kind.scope == Scope::Namespace;
        let in_scope = match rule["scope"].as_str() {
            Some("Namespaced") => in_namespace,
            Some("Cluster") => !in_namespace,
            _ => true,
        };
        let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
        let is_version = |group: &str, version: &str, resource: &str| {
            lists("apiGroups", group) && lists("apiVersions", version) && self.is_resource(&rule["resources"], resource)
        };
        let others = || {
            let told = self.call.state.kinds.described(self.call.tenant.as_ref());
            let mut kinds = told.catalog.kinds().filter(|other| other.storage_resource == kind.storage_resource);
            kinds.any(|other| is_version(&other.group, &other.version, &other.resource))
        };
        lists("operations", self.operation)
            && in_scope
            && names.is_none_or(|names| names.iter().any(|name| name == self.name.as_str()))
            && (is_version(&kind.group, &kind.version, &kind.resource) || (equivalent && others()))
    }

    fn is_resource(&self, patterns: &Value, resource: &str) -> bool {
        patterns.as_array().into_iter().flatten().filter_map(Value::as_str).any(|pattern| {
            let (wanted, part) = pattern.split_once('/').unwrap_or((pattern, ""));
            (wanted == "*" || wanted == resource) && (part == "*" || part == self.subresource)
        })
    }

    /// Whether the namespace that the object is in (or is) is one of those that are selected.
    pub(super) fn in_namespaces(&self, selector: &Value) -> Result<bool, String> {
        let Some(selector) = read(selector)? else { return Ok(true) };
        let own = || self.new.as_ref().or(self.old.as_ref());
        let namespace = match self.call.kind.storage_resource.as_str() {
            "namespaces" => own(),
            _ if self.call.kind.scope == Scope::Namespace => self.namespace.as_ref(),
            _ => return Ok(true),
        };
        Ok(namespace.is_some_and(|namespace| has_labels(&selector, namespace)))
    }

    /// Whether the object is one of those that are selected, before or after.
    pub(super) fn is_object(&self, selector: &Value) -> Result<bool, String> {
        let Some(selector) = read(selector)? else { return Ok(true) };
        Ok([&self.new, &self.old].into_iter().flatten().any(|object| has_labels(&selector, object)))
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
        let mut said = self.said("");
        for field in ["name", "namespace", "subResource", "requestSubResource"] {
            if said[field].is_null() {
                said[field] = json!("");
            }
        }
        names.set("request", &said);
        names.set_authorizer(Arc::new(Rights::of(self.call)), self.about());
        names
    }
}

/// The namespace that is asked about; absent for what is in none.
fn namespace(call: &Call<'_>) -> Result<Option<Object>, Status> {
    let (Scope::Namespace, Some(tenant)) = (call.kind.scope, call.tenant.as_ref()) else { return Ok(None) };
    let found = call.state.config.engine.snapshot().get(&namespace_key(tenant, &call.namespace));
    found.map(|stored| stored.object.decode(Some(stored.revision)).map_err(Status::internal)).transpose()
}

/// A selector; absent where it selects everything.
fn read(selector: &Value) -> Result<Option<arktos_core::LabelSelector>, String> {
    if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(None);
    }
    let spec: LabelSelectorSpec = serde_json::from_value(selector.clone()).map_err(|error| error.to_string())?;
    spec.selector().map(Some).map_err(|error| error.to_string())
}

fn has_labels(selector: &arktos_core::LabelSelector, object: &Object) -> bool {
    let labels = object.at(&["metadata", "labels"]).and_then(Value::as_object);
    selector.matches(|key| labels?.get(key)?.as_str())
}
