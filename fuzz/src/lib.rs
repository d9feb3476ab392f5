//! What the fuzz targets check. Each function takes any bytes and panics when a promise is broken.
//!
//! `arktos-core/tests/fuzz_smoke.rs` includes this file and runs the same functions on a stable toolchain.

use arktos_core::cel::{Expression, Scope};
use arktos_core::custom::{self, Structural};
use arktos_core::fields::FieldSet;
use arktos_core::media::{protobuf, yaml};
use arktos_core::merge::apply::{self, Live, OneVersion, Reach, Writer};
use arktos_core::schema::builtin;
use arktos_core::{Catalog, Dialect, FieldSelector, LabelSelector, Managed, Object, Quantity, TypeMeta};
use arktos_core::{merge, rules, schema};
use serde_json::{Value, json};

/// What a selector is written as, it reads back from.
pub fn selectors(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        assert_eq!(LabelSelector::parse(&selector.to_string()).expect("it reads back"), selector);
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        assert_eq!(FieldSelector::parse(&selector.to_string()).expect("it reads back"), selector);
    }
}

/// What a quantity is written as, it reads back from; sums do not overflow.
pub fn quantity(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (first, second) = text.split_once(' ').unwrap_or((text, "1"));
    let (Ok(first), Ok(second)) = (Quantity::parse(first), Quantity::parse(second)) else { return };
    assert_eq!(Quantity::parse(&first.to_string()).expect("it reads back"), first);
    let sum = first.plus(&second);
    let small = |amount: &Quantity| amount.nanos().unsigned_abs() < 1 << 90;
    if small(&first) && small(&second) {
        assert_eq!(sum.minus(&second), first);
        assert_eq!(sum > first, second > Quantity::default());
    }
    let _ = (sum.value(), sum.milli(), sum.rounded_to_milli().to_string());
}

/// A patched document is still one that can be stored: its JSON reads back.
pub fn json_patch(bytes: &[u8]) {
    let Some((mut document, patch)) = document_and_patch(bytes) else { return };
    let mut merged = document.clone();
    if merge::json_patch(&mut document, patch.clone()).is_ok() {
        reads_back(&document);
    }
    if merge::merge_patch(&mut merged, patch).is_ok() {
        reads_back(&merged);
    }
}

/// As [`json_patch`], for strategic merge patches on the richest type there is.
pub fn strategic_merge(bytes: &[u8]) {
    let Some((mut document, patch)) = document_and_patch(bytes) else { return };
    let schema = builtin("io.k8s.api.core.v1.PodSpec").expect("a built-in type");
    if merge::strategic(&schema, &mut document, patch).is_ok() {
        reads_back(&document);
    }
}

/// What was read can be written, reads back as the same, and can be stored.
pub fn protobuf(bytes: &[u8]) {
    let whole = if bytes.starts_with(protobuf::MAGIC) { bytes.to_vec() } else { [protobuf::MAGIC, bytes].concat() };
    let Ok((type_meta, value)) = protobuf::decode(&whole) else { return };
    reads_back(&value);
    if let Ok(written) = protobuf::encode(&type_meta, &value) {
        protobuf::decode(&written).expect("what was written reads back");
    }
}

/// What was read can be stored.
pub fn yaml(bytes: &[u8]) {
    if let Ok(value) = yaml::parse(bytes) {
        reads_back(&value);
    }
    let _ = yaml::repeated_keys(bytes);
    let _ = yaml::parse_all(bytes);
}

/// Whatever configuration is applied to whatever object, what comes out can be stored, and applied once more it stays
/// as it is.
pub fn apply(bytes: &[u8]) {
    let Some((mut live, config)) = document_and_patch(bytes) else { return };
    let meta = live.get_mut("metadata").and_then(Value::as_object_mut);
    let kept = meta.and_then(|meta| meta.remove("managedFields")).as_ref().map(Managed::of);
    let schema = builtin("io.k8s.api.core.v1.Pod").expect("a built-in type");
    let writer = |manager: &'static str| Writer {
        manager,
        api_version: "v1",
        subresource: "",
        now: "2026-11-23T10:00:00Z",
        reach: &ALL,
        schema: &schema,
        fixed: true,
        versions: &OneVersion,
    };
    let live = Live { object: &live, managed: kept.as_ref() };
    let Ok((applied, managed)) = apply::apply(&writer("one"), Some(live), &config, true) else { return };
    reads_back(&applied);
    reads_back(&managed.as_ref().map(Managed::tree).unwrap_or_default());
    let now = Live { object: &applied, managed: managed.as_ref() };
    let again = apply::apply(&writer("one"), Some(now), &config, false).expect("what was applied can be again");
    assert_eq!(again, (applied.clone(), managed.clone()));
    let updated = apply::update(&writer("two"), Some(live), &applied, None);
    reads_back(&updated.map(|managed| managed.tree()).unwrap_or_default());
}

static ALL: std::sync::LazyLock<Reach> = std::sync::LazyLock::new(|| Reach::AllBut(FieldSet::default()));

/// What compiles is evaluated within its budget, to a value that can be written, or to a fault.
pub fn cel(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(expression) = Expression::compile(text, &["object", "n"]) else { return };
    let mut scope = Scope::default();
    scope.set("object", &json!({"a": [1, 2.5, "x", null, true], "b": {"c": "2026-11-23T10:00:00Z"}}));
    scope.set("n", &json!(7));
    if let Ok(value) = expression.evaluate(&scope) {
        let _ = value.to_string();
    }
}

/// A schema of somebody's own kind and an object of it: the schema is refused or serves, and the object likewise.
pub fn crd_schema(bytes: &[u8]) {
    let Some((schema, object)) = document_and_patch(bytes) else { return };
    let _ = Structural::compile(&schema);
    let mut definition = Object::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    }))
    .expect("an object");
    let kind = Catalog::builtin().by_type(&TypeMeta::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition"));
    let Ok(mut admitted) = rules::admit_create(&kind.expect("a built-in kind"), definition.clone()) else { return };
    admitted.set(&["status", "acceptedNames"], definition.map_mut(&["spec", "names"]).clone());
    admitted.set(&["status", "conditions"], json!([{"type": "Established", "status": "True"}]));
    for kind in custom::kinds_of(&admitted) {
        let Ok(decoded) = schema::decode(&kind, object.clone(), Dialect::Plain) else { continue };
        if let Ok(created) = rules::admit_create(&kind, decoded.object) {
            kind.encode(&created).expect("what was admitted can be stored");
        }
    }
}

/// A body of JSON, as an object of the richest kind there is.
pub fn json(bytes: &[u8]) {
    let kind = Catalog::builtin().by_type(&TypeMeta::new("", "v1", "Pod")).expect("a built-in kind");
    let Ok(decoded) = schema::read(&kind, bytes, Dialect::Plain) else { return };
    if let Ok(created) = rules::admit_create(&kind, decoded.object) {
        reads_back(&created.into_value());
    }
}

/// Two JSON values, divided by a line feed.
fn document_and_patch(bytes: &[u8]) -> Option<(Value, Value)> {
    let middle = bytes.iter().position(|byte| *byte == b'\n')?;
    let (document, patch) = (bytes.get(..middle)?, bytes.get(middle + 1..)?);
    Some((serde_json::from_slice(document).ok()?, serde_json::from_slice(patch).ok()?))
}

fn reads_back(value: &Value) {
    let text = value.to_string();
    let again: Value = serde_json::from_str(&text).expect("it reads back");
    assert_eq!(again.to_string(), text);
}
