//! What the fuzz targets check. Each function takes any bytes and panics when a promise is broken.
//!
//! `arktos-core/tests/fuzz_smoke.rs` includes this file and runs the same functions on a stable toolchain.

use arktos_core::media::{protobuf, yaml};
use arktos_core::merge;
use arktos_core::schema::builtin;
use arktos_core::{FieldSelector, LabelSelector, Quantity};
use serde_json::Value;

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
