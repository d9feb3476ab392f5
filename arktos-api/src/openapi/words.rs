//! What OpenAPI documents say, in words, of the fields that every object has: `kubectl explain` shows it.

use serde_json::{Map, Value};

/// The fields beside an object's own.
const OF_OBJECTS: [(&str, &str); 3] = [
    (
        "apiVersion",
        "APIVersion defines the version of the schema in which this object is written. A server shows an object in any \
         version that it serves, and refuses versions that it does not know.",
    ),
    (
        "kind",
        "Kind is the type of this object. It belongs to the address that the object is sent to, and cannot be changed.",
    ),
    ("metadata", "Standard object's metadata: its name, its labels, and what else every object has."),
];

/// What `ObjectMeta` is.
const OBJECT_META: &str = "ObjectMeta is what every stored object has beside its own fields. A part of it is the user's; \
                           the rest is kept by the server.";

const OF_OBJECT_META: [(&str, &str); 15] = [
    ("annotations", "Annotations are texts that tools keep with the object. Nothing is selected by them."),
    (
        "creationTimestamp",
        "CreationTimestamp is a timestamp: when the server made this object. It is set by the server alone, in UTC.",
    ),
    (
        "deletionGracePeriodSeconds",
        "Seconds that the object was given to end by itself before it is removed. Set together with deletionTimestamp.",
    ),
    (
        "deletionTimestamp",
        "DeletionTimestamp is when the object is to be removed. It is set by the server when somebody asks for the \
         deletion, and never taken back; the object stays until its finalizers are gone.",
    ),
    ("finalizers", "Finalizers name who has work to do before the object may be removed. Each takes off its own name."),
    (
        "generateName",
        "GenerateName is the beginning of a name that the server completes, for objects that are sent without a name.",
    ),
    ("generation", "Generation counts the changes of what is asked for. It is set by the server alone."),
    ("labels", "Labels are keys and values by which objects are grouped and selected."),
    ("managedFields", "ManagedFields say which manager set which fields, and how. The server keeps them for apply."),
    ("name", "Name is unique among the objects of a kind in their namespace. It cannot be changed."),
    ("namespace", "Namespace is the space in which the name is unique. It cannot be changed."),
    (
        "ownerReferences",
        "OwnerReferences name the objects that this one depends on. When all of them are gone, it is removed. One of \
         them at most is its controller.",
    ),
    (
        "resourceVersion",
        "ResourceVersion tells the states of an object apart. Sent with a change, it makes sure that nobody else changed \
         the object meanwhile. Set by the server alone.",
    ),
    ("selfLink", "SelfLink is no longer filled in."),
    ("uid", "UID tells this object from all others, in all time. It is set by the server alone."),
];

/// Says of an object's properties what they have in common with those of every other.
pub(super) fn describe_object(properties: &mut Value) {
    describe(properties, &OF_OBJECTS);
}

/// Describes `ObjectMeta`.
pub(super) fn describe_object_meta(written: &mut Value) {
    written["description"] = Value::from(OBJECT_META);
    if let Some(properties) = written.get_mut("properties") {
        describe(properties, &OF_OBJECT_META);
    }
}

/// Adds words to fields that have none. Nothing may stand beside a `$ref`, so that is wrapped.
fn describe(properties: &mut Value, words: &[(&str, &str)]) {
    for (name, text) in words {
        let Some(field) = properties.get_mut(*name) else { continue };
        if field.get("$ref").is_some() {
            let reference = field.take();
            *field = Value::Object(Map::from_iter([("allOf".to_owned(), Value::Array(vec![reference]))]));
        }
        if let Value::Object(field) = field {
            field.entry("description").or_insert_with(|| Value::from(*text));
        }
    }
}
