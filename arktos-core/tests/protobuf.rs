//! Protobuf bodies: recorded ones of kubectl, made ones, and hostile ones.

use std::path::Path;

use arktos_core::media::protobuf::{ProtobufError, decode, encode, knows};
use arktos_core::schema::{builtin_type, decode_as};
use arktos_core::{Dialect, TypeMeta};
use proptest::prelude::*;
use serde_json::{Value, json};

fn recorded() -> Vec<(String, Vec<u8>, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protobuf");
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of recorded bodies") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            let expected = std::fs::read(path.with_extension("json")).expect("what the body means");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let expected = serde_json::from_slice(&expected).expect("json");
            out.push((name, std::fs::read(&path).expect("a body"), expected));
        }
    }
    assert!(out.len() > 20, "the recorded bodies are there");
    out
}

/// Where two values differ, apart from zero values that only one of them spells out.
fn differences(path: &str, found: &Value, expected: &Value, out: &mut Vec<String>) {
    match (found, expected) {
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                let (a, b) = (a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
                differences(&format!("{path}.{name}"), a, b, out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{at}]"), a, b, out);
            }
        }
        (found, expected) if found == expected => {}
        (found, Value::Null) | (Value::Null, found) if is_zero(found) => {}
        (found, expected) => out.push(format!("{path}: {found} is not {expected}")),
    }
}

fn is_zero(value: &Value) -> bool {
    *value == json!("") || *value == json!(0) || *value == json!(false) || *value == json!([]) || *value == json!({})
}

fn assert_alike(name: &str, found: &Value, expected: &Value) {
    let mut out = Vec::new();
    differences("", found, expected, &mut out);
    assert!(out.is_empty(), "{name}: {out:#?}");
}

#[test]
fn kubectls_bodies_mean_what_kubectl_prints_of_them() {
    for (name, body, expected) in recorded() {
        let (type_meta, found) = decode(&body).expect(&name);
        assert_eq!(expected["kind"], type_meta.kind.as_str());
        assert_alike(&name, &found, &expected);
    }
}

/// The zero values that Go writes are gone once the schema has been over the tree: the object is the one that the same
/// client would have sent as JSON.
#[test]
fn read_by_their_schema_both_forms_are_the_same_object() {
    for (name, body, expected) in recorded() {
        let (type_meta, found) = decode(&body).expect(&name);
        let schema = builtin_type(&type_meta).expect(&name);
        let read = |value| decode_as(&schema, &type_meta, value, Dialect::Plain).expect(&name);
        let (found, expected) = (read(found), read(expected));
        assert_eq!(found.faults.list, Vec::<String>::new(), "{name}");
        assert_eq!(
            serde_json::to_string_pretty(&found.object.fields).expect("json"),
            serde_json::to_string_pretty(&expected.object.fields).expect("json"),
            "{name}"
        );
    }
}

#[test]
fn what_is_written_reads_back() {
    for (name, body, expected) in recorded() {
        let (type_meta, found) = decode(&body).expect(&name);
        let written = encode(&type_meta, &found).expect(&name);
        assert_eq!(decode(&written).expect(&name), (type_meta.clone(), found), "{name}");
        let from_json = encode(&type_meta, &expected).expect(&name);
        assert_alike(&name, &decode(&from_json).expect(&name).1, &expected);
    }
}

fn round_trip(value: &Value) -> Value {
    let text = |name: &str| value[name].as_str().expect("a type").to_owned();
    let type_meta = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
    let written = encode(&type_meta, value).expect("it can be written");
    let (read_type, read) = decode(&written).expect("it reads back");
    assert_eq!(read_type, type_meta);
    read
}

#[test]
fn the_port_of_a_hosts_agent_is_written_as_the_api_writes_it() {
    let status = json!({"daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": status});
    assert_eq!(round_trip(&node)["status"], status);
}

#[test]
fn values_with_a_form_of_their_own_survive() {
    let value = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "p", "tenant": "acme", "hashKey": 7, "creationTimestamp": "2026-11-23T10:11:12Z",
            "deletionGracePeriodSeconds": 0, "labels": {"a": "", "b": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "hashKey": -1, "controller": true}],
            "managedFields": [{
                "manager": "m", "operation": "Apply", "time": "2026-11-23T10:11:12Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}}}}},
            }],
        },
        "spec": {
            "containers": [{
                "name": "c", "image": "i",
                "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3},
                "readinessProbe": {"tcpSocket": {"port": 80}, "initialDelaySeconds": 0},
                "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k", "optional": true}}}],
                "envFrom": [{"secretRef": {"name": "s"}}],
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}, "runAsUser": 0},
            }],
            "ephemeralContainers": [{"name": "d", "image": "i", "targetContainerName": "c"}],
            "volumes": [
                {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "m", "configMap": {"name": "cm", "defaultMode": 420, "items": [{"key": "k", "path": "p"}]}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "s"}}]}},
            ],
        },
    });
    assert_eq!(round_trip(&value), value);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"k": "AP8=", "empty": ""}, "immutable": false});
    assert_eq!(round_trip(&secret), secret);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "spec": {"renewTime": "2026-11-23T10:11:12.000345Z", "leaseDurationSeconds": 40},
    });
    assert_eq!(round_trip(&lease), lease);
    let list = json!({
        "apiVersion": "v1", "kind": "NodeList", "metadata": {"resourceVersion": "7"},
        "items": [{"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "4"}}}, {"metadata": {"name": "m"}}],
    });
    assert_eq!(round_trip(&list), list);
}

#[test]
fn schemas_of_custom_resources_survive() {
    let value = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x.example.com"},
        "spec": {"group": "example.com", "versions": [{"name": "v1", "served": true, "schema": {"openAPIV3Schema": {
            "type": "object", "$ref": "#/x", "$schema": "y", "default": {"a": [1, null]}, "enum": ["a", 1],
            "maximum": 1.5, "minimum": 2, "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-list-map-keys": ["k"], "x-kubernetes-int-or-string": true,
            "x-kubernetes-validations": [{"rule": "self.a", "message": "m"}],
            "additionalProperties": {"type": "string"}, "items": {"type": "integer"},
            "properties": {
                "closed": {"additionalProperties": false}, "open": {"additionalProperties": true},
                "tuple": {"items": [{"type": "string"}, {}]},
            },
            "dependencies": {"a": ["b"], "c": {"type": "object"}},
        }}}]},
    });
    assert_eq!(round_trip(&value), value);
}

#[test]
fn reviews_webhooks_and_ingresses_survive() {
    for value in [
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "status": {"user": {"username": "u", "extra": {"k": ["a", "b"], "none": []}}},
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "webhooks": [{
                "name": "w", "rules": [{"operations": ["CREATE"], "apiGroups": [""], "resources": ["pods"], "scope": "*"}],
            }],
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "spec": {"rules": [{"host": "h", "http": {"paths": [{"path": "/", "pathType": "Prefix"}]}}]},
        }),
        json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Orphan"}),
        json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404, "details": {"name": "x"}}),
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": {"any": ["thing"]}, "revision": 1}),
    ] {
        assert_eq!(round_trip(&value), value);
    }
}

#[test]
fn a_type_without_a_message_is_refused() {
    let tenant = TypeMeta::new("", "v1", "Tenant");
    assert!(!knows(&tenant));
    assert!(!knows(&TypeMeta::new("example.com", "v1", "Deployment")));
    assert!(knows(&TypeMeta::new("apps", "v1", "Deployment")));
    assert!(matches!(encode(&tenant, &json!({})), Err(ProtobufError::UnknownType { .. })));
    assert_eq!(decode(b"{}"), Err(ProtobufError::NoMagic));
    assert_eq!(decode(b"k8s\0"), Err(ProtobufError::Empty));
    assert_eq!(decode(b"k8s\0\x0a\x00"), Err(ProtobufError::NoType));
    assert!(encode(&TypeMeta::new("", "v1", "Pod"), &json!({"spec": {"nodeName": 1}})).is_err());
}

/// Puts a field with a length in front of `bytes`, `depth` times over.
fn nested(tag: u8, depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..depth {
        bytes = field(tag, &bytes);
    }
    bytes
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for mut number in [usize::from(tag) << 3 | 2, bytes.len()] {
        while number >= 0x80 {
            out.push((number % 0x80) as u8 | 0x80);
            number /= 0x80;
        }
        out.push(number as u8);
    }
    out.extend_from_slice(bytes);
    out
}

#[test]
fn a_message_that_is_nested_too_deep_is_refused() {
    let crd = |schema: Vec<u8>| {
        let spec = field(2, &field(7, &field(4, &field(1, &schema))));
        let type_meta = [field(1, b"apiextensions.k8s.io/v1"), field(2, b"CustomResourceDefinition")].concat();
        [b"k8s\0".to_vec(), field(1, &type_meta), field(2, &spec)].concat()
    };
    let (_, shallow) = decode(&crd(nested(28, 10))).expect("a definition");
    let mut not = &shallow["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for _ in 0..10 {
        not = &not["not"];
        assert!(not.is_object(), "{shallow}");
    }
    assert_eq!(decode(&crd(nested(28, 100_000))), Err(ProtobufError::Malformed("the message is nested too deep")));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = decode(&[b"k8s\0".as_slice(), &bytes].concat());
    }

    #[test]
    fn damaged_bodies_are_read_or_refused(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
    ) {
        let bodies = recorded();
        let mut body = bodies[which.index(bodies.len())].1.clone();
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Ok((type_meta, value)) = decode(&body) {
            let _ = encode(&type_meta, &value);
        }
        let _ = decode(&body[..end.index(body.len())]);
    }
}
