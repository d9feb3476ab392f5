//! The objects that are measured with: pods of a given size, in 50 namespaces of one tenant.

use std::sync::Arc;

use arktos::core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, TypeMeta};
use arktos::store::{Change, Commit, Expect};

/// How many commits lie between a pod's creation, its update and its deletion, so that many can be under way.
const APART: usize = 300;

/// Makes pods of one size.
#[derive(Clone)]
pub struct Pods {
    type_meta: Arc<TypeMeta>,
    filler: String,
}

pub fn resource() -> GroupResource {
    GroupResource::core("pods")
}

pub fn key(number: usize) -> ObjectKey {
    let namespace = format!("ns-{}", number % 50);
    ObjectKey { resource: resource(), path: ObjectPath::new("acme", &namespace, &format!("pod-{number:07}")) }
}

/// The node that a watcher or a pod belongs to.
pub fn node(number: usize) -> String {
    format!("node-{number:07}")
}

impl Pods {
    /// Pods whose encoded bytes are this many.
    pub fn of(bytes: usize) -> Self {
        let mut pods = Self { type_meta: Arc::new(TypeMeta::new("", "v1", "Pod")), filler: String::new() };
        let rest = pods.on_node(0, 0).tail_length();
        pods.filler = "x".repeat(bytes.saturating_sub(rest));
        pods
    }

    /// A pod on one of 5,000 nodes.
    pub fn pod(&self, number: usize) -> Encoded {
        self.on_node(number, number % 5000)
    }

    /// A pod on a node. `spec.nodeName` is its first selectable field.
    pub fn on_node(&self, number: usize, on: usize) -> Encoded {
        let value = serde_json::json!({
            "metadata": {
                "name": format!("pod-{number:07}"), "namespace": format!("ns-{:02}", number % 50),
                "uid": format!("00000000-0000-4000-8000-{number:012}"),
                "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"},
            },
            "spec": {"nodeName": node(on), "containers": [{"name": "web", "image": "web:1", "command": [self.filler]}]},
        });
        let object = Object::from_value(value).expect("an object");
        Encoded::encode(&self.type_meta, &object, &[&["spec", "nodeName"]]).expect("encodes")
    }

    /// The commit that creates a pod.
    pub fn create(&self, number: usize) -> Commit {
        Commit::one(key(number), Expect::Absent, Change::put(self.pod(number)))
    }

    /// What must be there before [`churn`](Self::churn) begins.
    pub fn before_churn(&self) -> impl Iterator<Item = Commit> {
        (0..2 * APART).map(|number| self.create(number))
    }

    /// Creates, updates and deletes in turn: pods come, change and go.
    pub fn churn(&self, step: usize) -> Commit {
        let number = step / 3;
        match step % 3 {
            0 => self.create(number + 2 * APART),
            1 => Commit::one(key(number + APART), Expect::Present, Change::put(self.pod(number + APART))),
            _ => Commit::one(key(number), Expect::Present, Change::Delete),
        }
    }
}

/// An object of the same content with bytes of its own, as a new version has.
pub fn fresh(object: &Encoded) -> Encoded {
    let header = object.header();
    Encoded::from_parts(header.type_meta().clone(), header.packed(), &object.tail()).expect("a header")
}
