use serde_json::json;

use super::*;

fn written(set: &FieldSet) -> serde_json::Value {
    serde_json::to_value(set).expect("JSON")
}

fn set(value: serde_json::Value) -> FieldSet {
    FieldSet::parse(&value).expect("a set of fields")
}

#[test]
fn what_is_read_is_written_again() {
    for value in [
        json!({}),
        json!({"f:a": {}}),
        json!({"f:a": {".": {}, "f:b": {}, "v:\"x\"": {}, "v:1": {}, "i:3": {}}}),
        json!({"f:l": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}, "k:{\"a\":true}": {}}}),
    ] {
        assert_eq!(written(&set(value.clone())), value);
    }
    assert_eq!(written(&set(json!({"f:a": {".": {}}}))), json!({"f:a": {}}), "one form");
    assert_eq!(written(&set(json!({"x:a": {}, "f:b": {}}))), json!({"f:b": {}}), "steps of the future are left out");
}

#[test]
fn what_is_no_set_is_refused() {
    for bad in
        [json!(1), json!({"f": {}}), json!({"v:{": {}}), json!({"k:1": {}}), json!({"i:x": {}}), json!({"f:a": 1})]
    {
        assert!(FieldSet::parse(&bad).is_err(), "{bad}");
    }
    let deep = (0..10_000).fold(json!({}), |inner, _| {
        let mut map = serde_json::Map::new();
        map.insert("f:a".to_owned(), inner);
        serde_json::Value::Object(map)
    });
    assert!(FieldSet::parse(&deep).is_err());
    // Dropping a value of that depth is recursive.
    std::mem::forget(deep);
}

#[test]
fn parents_and_children_are_apart() {
    let one = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
    let other = set(json!({"f:a": {"f:b": {}}, "f:d": {"f:e": {}}}));
    assert_eq!(written(&one.clone().difference(&other)), json!({"f:a": {".": {}, "f:c": {}}, "f:d": {}}));
    assert_eq!(written(&other.clone().difference(&one)), json!({"f:d": {"f:e": {}}}));
    assert_eq!(written(&one.intersection(&other)), json!({"f:a": {"f:b": {}}}));
    assert_eq!(
        written(&one.clone().union(&other)),
        json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {".": {}, "f:e": {}}})
    );
    let mut deep = one;
    deep.remove_below(&set(json!({"f:a": {}})));
    assert_eq!(written(&deep), json!({"f:d": {}}));
}

#[test]
fn patterns_keep_what_they_lead_to() {
    let all = set(json!({"f:spec": {"f:a": {}, "f:l": {
            "k:{\"name\":\"x\"}": {".": {}, "f:r": {"f:s": {}}, "f:t": {}}}}, "f:z": {}}));
    assert_eq!(
        written(&all.only(&[&["spec", "l", "*", "r"]])),
        json!({"f:spec": {"f:l": {"k:{\"name\":\"x\"}": {".": {}, "f:r": {"f:s": {}}}}}})
    );
}

#[test]
fn paths_read_as_in_messages() {
    let all = set(json!({"f:l": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {}, "v:\"x\"": {}, "i:2": {}}}));
    let paths: Vec<String> = all.paths().iter().map(ToString::to_string).collect();
    assert_eq!(paths, [".l[port=80,protocol=\"TCP\"]", ".l[=\"x\"]", ".l[2]"]);
}

#[test]
fn steps_are_found_whatever_the_order_of_their_text() {
    let value = json!({"f:a": {"v:10": {}, "v:100": {}, "v:9": {}}});
    let read = set(value.clone());
    let mut made = FieldSet::default();
    for number in [100, 9, 10] {
        made.insert(&[Element::field("a"), Element::Item(Scalar(json!(number)))]);
    }
    assert_eq!(read, made);
    assert_eq!(written(&read), value);
    assert_eq!(made.clone().union(&read), made);
    assert!(made.difference(&read).is_empty());
}

/// A write may ask a large set for as many steps as it has: each is looked up, and not looked for.
#[test]
fn steps_are_found_by_their_text_in_sets_of_any_size() {
    let texts = |at: usize| [format!("f:name-{at}"), format!("k:{{\"name\":\"name-{at}\"}}"), format!("v:{at}")];
    let all: Vec<String> = (0..5_000).flat_map(texts).collect();
    let fields: serde_json::Map<_, _> = all.iter().map(|text| (text.clone(), json!({".": {}, "f:x": {}}))).collect();
    let set = set(serde_json::Value::Object(fields));
    for text in &all {
        let (member, below) = set.step_of(text).expect("is there");
        assert!(member && below.has(&Element::field("x")), "{text}");
    }
    for text in ["f:name", "f:", "k:{\"name\":\"x\"}", "k:{", "v:5000", "v:\"1\"", "i:1", "x:name-1", ".", ""] {
        assert!(set.step_of(text).is_none(), "{text}");
    }
}
