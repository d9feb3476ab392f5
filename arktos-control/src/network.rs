//! The network that every tenant begins with, where the operator says how it looks.

use arktos_core::{Object, ObjectKey, ObjectPath, Reason, Scope, Status, TenantName, TypeMeta};
use arktos_store::Client;
use serde_json::Value;

use crate::kinds::{Kinds, StoredKind};
use crate::write::{found, unless_there};

/// Where the tenant's name is put in.
const PLACE: &str = "{{.}}";

/// An object that every tenant is given, in no namespace: JSON in which `{{.}}` stands for the tenant's name, as in
/// Arktos's `--default-network-template-path`. Of what kind it is, a definition in `system` says that is forced on all
/// tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkTemplate(String);

/// A text that makes no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not JSON, or no object.
    #[error("is not an object in JSON: {0}")]
    NoObject(String),
    /// A field is missing that every object has.
    #[error("has no {0}")]
    Missing(&'static str),
}

impl NetworkTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When what it makes for a tenant is no object with an `apiVersion`, a `kind` and a name.
    pub fn new(text: impl Into<String>) -> Result<Self, TemplateError> {
        let template = Self(text.into());
        let object = template.of("system")?;
        for (field, at) in [("apiVersion", &["apiVersion"][..]), ("kind", &["kind"]), ("name", &["metadata", "name"])] {
            if object.at(at).and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(TemplateError::Missing(field));
            }
        }
        Ok(template)
    }

    fn of(&self, tenant: &str) -> Result<Object, TemplateError> {
        let read = serde_json::from_str(&self.0.replace(PLACE, tenant));
        let value = read.map_err(|error| TemplateError::NoObject(error.to_string()))?;
        Object::from_value(value).ok_or_else(|| TemplateError::NoObject("it is something else".to_owned()))
    }

    /// Gives a tenant its network, unless it has one of that name.
    ///
    /// # Errors
    /// What the API answers; and that it is not found where no kind of it is known yet.
    pub(crate) async fn give(&self, client: &dyn Client, kinds: &Kinds, tenant: &TenantName) -> Result<(), Status> {
        let object = self.of(tenant.as_str()).map_err(Status::internal)?;
        let TypeMeta { api_version, kind } = object.type_meta();
        let is_it = |known: &&StoredKind| known.is(&api_version, &kind) && known.scope == Scope::Tenant;
        let known: Vec<_> = kinds.borrow().iter().filter(is_it).map(|known| known.resource.clone()).collect();
        let path = ObjectPath::new(tenant.as_str(), "", object.name());
        // Tenants can define a kind of this name as something else: the tenant's own is the one that can be made in it.
        for resource in known {
            if found(client.get(&ObjectKey { resource: resource.clone(), path: path.clone() }).await)?.is_some() {
                return Ok(());
            }
            match unless_there(client.create(&resource, tenant.as_str(), "", object.clone()).await) {
                Err(status) if status.is(Reason::NotFound) => {}
                made => return made.map(drop),
            }
        }
        let why = format!("no tenant-scoped kind {kind} of {api_version} is known yet");
        Err(Status::failure(Reason::NotFound, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_makes_an_object_for_each_tenant_or_is_refused() {
        let text =
            r#"{"apiVersion": "a.example/v1", "kind": "Network", "metadata": {"name": "default"}, "x": "{{.}}"}"#;
        let template = NetworkTemplate::new(text).expect("is one");
        assert_eq!(template.of("acme").expect("an object").at(&["x"]), Some(&Value::from("acme")));
        let refused = |text: &str| NetworkTemplate::new(text).expect_err("is none").to_string();
        assert_eq!(refused("[]"), "is not an object in JSON: it is something else");
        assert!(refused("{").starts_with("is not an object in JSON: EOF"), "{}", refused("{"));
        assert_eq!(refused(r#"{"apiVersion": "v1"}"#), "has no kind");
        assert_eq!(refused(r#"{"apiVersion": "v1", "kind": "Network", "metadata": {}}"#), "has no name");
    }
}
