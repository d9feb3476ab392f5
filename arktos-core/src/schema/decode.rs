//! From a body to an object: unknown and repeated fields, type faults, and the form in which the API writes it.

use serde_json::Value;

use super::complete::{Complete, Extra};
use super::json::{self, Read};
use super::model::Schema;
use crate::catalog::Kind;
use crate::custom;
use crate::encoded::Dialect;
use crate::kind::TypeMeta;
use crate::object::Object;
use crate::status::Status;

/// What is wrong with a body, yet does not keep it from being read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Faults in the API's words, such as `unknown field "spec.foo"`, in the API's order.
    pub list: Vec<String>,
}

impl Faults {
    /// The text of a strict refusal, such as `strict decoding error: unknown field "spec.foo"`.
    #[must_use]
    pub fn strict_text(&self) -> String {
        format!("strict decoding error: {}", self.list.join(", "))
    }

    /// The refusal of a body with these faults: 400. `None` when there are none.
    #[must_use]
    pub fn refusal(&self, type_meta: &TypeMeta) -> Option<Status> {
        (!self.list.is_empty()).then(|| cannot_be_handled(type_meta, &self.strict_text()))
    }
}

/// A body that was read.
#[derive(Debug)]
pub struct Decoded {
    /// The object: unknown fields gone, values as the API writes them, defaults set.
    pub object: Object,
    /// Unknown and repeated fields: the road refuses, warns of, or ignores them, as `fieldValidation` asks.
    pub faults: Faults,
}

/// Reads a JSON body of a kind, seeing repeated fields.
///
/// `dialect` says which fields of `metadata` beyond plain Kubernetes the body may have (`tenant`, `arktosNotes`); they
/// are left where they are.
///
/// # Errors
/// 400 when the bytes are not JSON, or a value has the wrong type, in the Go decoder's words.
pub fn read(kind: &Kind, bytes: &[u8], dialect: Dialect) -> Result<Decoded, Status> {
    read_as(&kind.schema, &kind.type_meta, bytes, dialect)
}

/// As [`read`], for a type that need not be a kind's, such as that of a subresource.
///
/// # Errors
/// As [`read`].
pub fn read_as(schema: &Schema, type_meta: &TypeMeta, bytes: &[u8], dialect: Dialect) -> Result<Decoded, Status> {
    // What a custom kind does not know is found when it is read as one: in another order, as upstream has it.
    let known = if schema.structural().is_some() { None } else { Some(schema) };
    let Read { value, faults } =
        json::read(bytes, known, dialect.into()).map_err(|fault| cannot_be_handled(type_meta, &fault.to_string()))?;
    let mut decoded = decode_as(schema, type_meta, value, dialect)?;
    decoded.faults.list.splice(0..0, faults);
    // Who is unknown twice is unknown.
    let mut seen = std::collections::HashSet::new();
    decoded.faults.list.retain(|fault| !fault.starts_with("unknown field") || seen.insert(fault.clone()));
    Ok(decoded)
}

/// Reads a body that is a tree already (patched, or from another encoding): unknown fields are found, repeated ones
/// are the reader's business.
///
/// # Errors
/// As [`read`].
pub fn decode(kind: &Kind, value: Value, dialect: Dialect) -> Result<Decoded, Status> {
    decode_as(&kind.schema, &kind.type_meta, value, dialect)
}

/// As [`decode`], for what an apply has made.
///
/// # Errors
/// As [`read`].
pub fn decode_applied(kind: &Kind, value: Value, dialect: Dialect) -> Result<Decoded, Status> {
    match kind.schema.structural() {
        Some(structural) => custom::decode_applied(structural, &kind.type_meta, value, dialect),
        None => decode(kind, value, dialect),
    }
}

/// As [`decode`], for a type that need not be a kind's.
///
/// # Errors
/// As [`read`].
pub fn decode_as(schema: &Schema, type_meta: &TypeMeta, mut value: Value, dialect: Dialect) -> Result<Decoded, Status> {
    if let Some(structural) = schema.structural() {
        return custom::decode(structural, type_meta, value, dialect);
    }
    let mut complete = Complete::new(dialect.into());
    complete.root(schema, &mut value).map_err(|fault| cannot_be_handled(type_meta, &fault))?;
    let faults = Faults { list: complete.into_faults() };
    let mut object = Object::from_value(value).ok_or_else(|| Status::bad_request("the body is not an object"))?;
    for (field, text) in [("apiVersion", &type_meta.api_version), ("kind", &type_meta.kind)] {
        if object.str_at(&[field]).is_empty() {
            object.set(&[field], text.as_str());
        }
    }
    Ok(Decoded { object, faults })
}

/// Brings an object into the form in which the API writes it, and sets defaults: what [`decode`] does to a body, once
/// more, after admission plugins had their say. Unknown fields are dropped.
///
/// # Errors
/// As [`decode`].
pub fn complete(kind: &Kind, object: &mut Object) -> Result<(), Status> {
    if let Some(structural) = kind.schema.structural() {
        return custom::complete(structural, object).map(|_| ()).map_err(custom::too_large);
    }
    let mut value = Value::Object(std::mem::take(&mut object.fields));
    let done = Complete::new(Extra::All).root(&kind.schema, &mut value);
    if let Value::Object(fields) = value {
        object.fields = fields;
    }
    done.map_err(|fault| cannot_be_handled(&kind.type_meta, &fault))
}

/// Reads the `metadata` of a custom kind's object. Gives the names of the fields that nobody knows.
///
/// # Errors
/// When a value has the wrong type, in the Go decoder's words.
pub(crate) fn metadata(value: &mut Value, dialect: Dialect) -> Result<Vec<String>, String> {
    let Some(schema) = super::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") else { return Ok(Vec::new()) };
    let mut complete = Complete::new(dialect.into());
    complete.root(&schema, value)?;
    let name = |fault: String| {
        let rest = fault.strip_prefix("unknown field \"").unwrap_or(&fault);
        rest.trim_end_matches('"').to_owned()
    };
    Ok(complete.into_faults().into_iter().map(name).collect())
}

pub(crate) fn cannot_be_handled(type_meta: &TypeMeta, why: &str) -> Status {
    let TypeMeta { kind, .. } = type_meta;
    Status::bad_request(format!("{kind} in version \"{}\" cannot be handled as a {kind}: {why}", type_meta.version()))
}

impl From<Dialect> for Extra {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Plain => Self::None,
            Dialect::Arktos => Self::Tenant,
            Dialect::Region => Self::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use serde_json::json;

    fn read_one(resource: (&str, &str), body: &str) -> Result<Decoded, Status> {
        let kind = Catalog::builtin().by_path(resource.0, "v1", resource.1).expect("a built-in kind");
        read(&kind, body.as_bytes(), Dialect::Plain)
    }

    #[test]
    fn unknown_and_repeated_fields_are_told_in_the_order_of_the_text() {
        let body =
            r#"{"zeta":1,"metadata":{"name":"a","name":"b"},"spec":{"ports":[{"port":80,"bogus":{}}]},"alpha":2}"#;
        let decoded = read_one(("", "services"), body).expect("reads");
        assert_eq!(
            decoded.faults.strict_text(),
            "strict decoding error: unknown field \"zeta\", duplicate field \"metadata.name\", \
             unknown field \"spec.ports[0].bogus\", unknown field \"alpha\""
        );
        assert_eq!(decoded.object.name(), "b");
        assert_eq!(decoded.object.at(&["zeta"]), None);
    }

    #[test]
    fn type_faults_are_told_as_clients_know_them() {
        for (resource, body, text) in [
            (
                ("apps", "deployments"),
                r#"{"spec":{"replicas":"3"}}"#,
                "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go \
                 struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                ("", "pods"),
                r#"{"spec":{"containers":[{"image":5}]}}"#,
                "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field \
                 Container.spec.containers.image of type string",
            ),
            (
                ("apps", "deployments"),
                r#"{"spec":{"replicas":1180591620717411303424}}"#,
                "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal number \
                 1180591620717411303424 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                ("", "secrets"),
                r#"{"data":{"a":"%"}}"#,
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0",
            ),
        ] {
            let status = read_one(resource, body).expect_err("refused");
            assert_eq!((status.code, status.message.as_str()), (400, text));
        }
    }

    #[test]
    fn values_take_the_form_in_which_the_api_writes_them() {
        let body = r#"{"metadata":{"labels":{}},"spec":{"hostNetwork":false,"containers":[{"name":"a","image":"x:1","args":[],
            "resources":{"limits":{"cpu":"1000m"}}}],"volumes":null}}"#;
        let pod = read_one(("", "pods"), body).expect("reads").object;
        assert_eq!(pod.at(&["metadata"]), Some(&json!({})));
        assert_eq!(pod.at(&["spec", "hostNetwork"]), None);
        assert_eq!(pod.at(&["spec", "volumes"]), None);
        assert_eq!(pod.at(&["spec", "securityContext"]), Some(&json!({})));
        let container = &pod.fields["spec"]["containers"][0];
        assert_eq!(container["imagePullPolicy"], "IfNotPresent");
        assert_eq!(container["resources"], json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}));
        assert_eq!(container.get("args"), None);
    }

    #[test]
    fn a_zero_stays_where_its_absence_means_something_else() {
        let body = r#"{"spec":{"replicas":0,"selector":{"a":"b"}}}"#;
        let controller = read_one(("", "replicationcontrollers"), body).expect("reads").object;
        assert_eq!(controller.at(&["spec", "replicas"]), Some(&json!(0)));
        let body = r#"{"spec":{"ports":[{"port":80,"protocol":""}]}}"#;
        let service = read_one(("", "services"), body).expect("reads").object;
        assert_eq!(service.fields["spec"]["ports"][0]["protocol"], "TCP");
    }

    #[test]
    fn no_bytes_are_nothing_where_they_need_not_be_said() {
        let requests = ("certificates.k8s.io", "certificatesigningrequests");
        let body = r#"{"spec":{"request":""},"status":{"certificate":""}}"#;
        let fields = read_one(requests, body).expect("reads").object.fields;
        assert_eq!((&fields["spec"]["request"], fields["status"].get("certificate")), (&json!(""), None));
        let secret = read_one(("", "secrets"), r#"{"data":{"a":""}}"#).expect("reads").object;
        assert_eq!(secret.fields["data"], json!({"a": ""}));
    }

    #[test]
    fn a_port_of_a_service_leads_to_itself_where_nothing_is_named() {
        for target in ["", r#","targetPort":0"#, r#","targetPort":"""#] {
            let body = format!(r#"{{"spec":{{"ports":[{{"port":80{target}}}]}}}}"#);
            let service = read_one(("", "services"), &body).expect("reads").object;
            assert_eq!(service.fields["spec"]["ports"][0]["targetPort"], 80, "{target}");
        }
    }

    #[test]
    fn schemas_of_items_and_of_values_are_read_apart() {
        let read = |schema: &str| {
            let body = format!(r#"{{"spec":{{"versions":[{{"schema":{{"openAPIV3Schema":{schema}}}}}]}}}}"#);
            read_one(("apiextensions.k8s.io", "customresourcedefinitions"), &body)
        };
        let inner = r#"{"$schema":"","type":"string","nullable":false,"format":"","bogus":1}"#;
        let schema = format!(r#"{{"items":{{"additionalProperties":{inner},"type":"object"}},"type":"array"}}"#);
        let decoded = read(&schema).expect("reads");
        assert!(decoded.faults.list.is_empty());
        let schema = &decoded.object.fields["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert_eq!(schema["items"]["additionalProperties"], json!({"type": "string"}));
        let status = read(r#"{"items":{"properties":{"a":{"description":1}}}}"#).map(drop).expect_err("refused");
        let place = "JSONSchemaProps.spec.versions.schema.openAPIV3Schema.items.properties.description of type string";
        assert!(status.message.ends_with(place), "{}", status.message);
    }

    #[test]
    fn unknown_fields_are_named_as_a_tree_with_sorted_names_is_read() {
        let kind = Catalog::builtin().by_path("", "v1", "configmaps").expect("a built-in kind");
        let value = json!({"nosuch": 1, "metadata": {"odd": 1, "name": "a"}, "Data": {}});
        let faults = decode(&kind, value, Dialect::Plain).expect("reads").faults.list;
        let named = ["Data", "metadata.odd", "nosuch"].map(|path| format!("unknown field \"{path}\""));
        assert_eq!(faults, named);
    }

    #[test]
    fn only_those_who_speak_the_dialect_know_the_tenant() {
        let kind = Catalog::builtin().by_path("", "v1", "configmaps").expect("a built-in kind");
        let body = br#"{"metadata":{"name":"a","tenant":"acme"}}"#;
        assert_eq!(read(&kind, body, Dialect::Plain).expect("reads").faults.list.len(), 1);
        let decoded = read(&kind, body, Dialect::Arktos).expect("reads");
        assert_eq!(decoded.object.str_at(&["metadata", "tenant"]), "acme");
        assert!(decoded.faults.list.is_empty());
    }
}
