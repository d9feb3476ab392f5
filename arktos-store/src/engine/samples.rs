//! What the objects of one resource are alike to.

use std::hash::{DefaultHasher, Hash, Hasher};

use arktos_core::{Encoded, ObjectPath};
use imbl::OrdMap;

/// Of every shape that the objects of a resource have, the last that was kept whole: those after it are kept as what
/// they differ in from it. Pods of one replica set in the same phase have one shape. Cloning it shares all.
///
/// What is a sample stays in memory after its object has changed or gone, as long as others are kept as what they
/// differ in from it, or until there are [too many](Samples::most). It is never of another namespace: what one tenant
/// keeps does not show in what another takes.
#[derive(Clone, Default)]
pub(crate) struct Samples(OrdMap<u64, Encoded>);

/// Below so many bytes an object is kept whole: what stands in front of its differences would be as long.
const LEAST: usize = 256;

/// Above so many bytes as well: a sample that outlives its object is never large.
const LARGEST: usize = 32 << 10;

/// There are never more samples than this.
const MOST: usize = 1024;

impl Samples {
    /// An object as it is to be kept among so many others.
    pub(crate) fn keep(&mut self, path: &ObjectPath, object: &Encoded, others: usize) -> Encoded {
        if !(LEAST..=LARGEST).contains(&object.tail_length()) {
            return object.clone();
        }
        let shapes = shapes(path, object);
        let samples = shapes.iter().filter_map(|shape| self.0.get(shape));
        if let Some(alike) = samples.filter_map(|sample| object.like(sample)).next() {
            return alike;
        }
        self.trim(others);
        for shape in shapes {
            self.0.insert(shape, object.clone());
        }
        object.clone()
    }

    /// Forgets all samples where there are more than so many objects need: what they were taken from may be gone.
    pub(crate) fn trim(&mut self, objects: usize) {
        if self.0.len() > Self::most(objects) {
            self.0.clear();
        }
    }

    /// How many there may be beside so many objects.
    fn most(objects: usize) -> usize {
        MOST.min(objects / 4)
    }
}

/// What an object's shape is among those of its owner, and among all of its namespace: how many texts it has.
fn shapes(path: &ObjectPath, object: &Encoded) -> [u64; 2] {
    let (tenant, namespace, _) = path.parts();
    let texts = object.tail().iter().filter(|byte| **byte == b'"').count();
    let among = |owner: Option<&str>| {
        let mut hasher = DefaultHasher::new();
        (tenant, namespace, texts, owner).hash(&mut hasher);
        hasher.finish()
    };
    [among(object.header().controller().map(|owner| owner.uid)), among(None)]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arktos_core::{Object, TypeMeta};
    use serde_json::json;

    use super::*;

    fn pod(namespace: &str, name: &str, text: &str) -> (ObjectPath, Encoded) {
        let pod = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"image": text.repeat(300)}});
        let pod = Object::from_value(pod).expect("an object");
        let pod = Encoded::encode(&Arc::new(TypeMeta::new("", "v1", "Pod")), &pod, &[]).expect("encodes");
        (ObjectPath::new("acme", namespace, name), pod)
    }

    #[test]
    fn what_is_alike_is_kept_as_differences_from_one_of_its_namespace() {
        let mut samples = Samples::default();
        let mut small = |namespace: &str, name: &str, text: &str| {
            let (path, whole) = pod(namespace, name, text);
            let kept = samples.keep(&path, &whole, 100);
            assert_eq!(kept, whole);
            kept.weight() * 2 < whole.weight()
        };
        assert!(!small("default", "web-1", "nginx"));
        assert!(small("default", "web-2", "nginx"));
        assert!(!small("other", "web-3", "nginx"), "another namespace");
        assert!(!small("default", "web-4", "httpd"), "not alike");
        assert!(small("default", "web-5", "httpd"), "the last is the sample");
        assert!(!small("default", "web-6", "h"), "short");
    }

    #[test]
    fn there_are_few_samples_beside_few_objects() {
        let mut samples = Samples::default();
        for (number, objects) in [(0, 100), (1, 100), (2, 100)] {
            let (path, pod) = pod(&format!("namespace-{number}"), "web", "nginx");
            samples.keep(&path, &pod, objects);
        }
        samples.trim(12);
        assert_eq!(samples.0.len(), 3);
        samples.trim(11);
        assert_eq!(samples.0.len(), 0);
    }
}
