//! Sample objects of a resource: similar ones are stored as differences from a sample.

use std::hash::{DefaultHasher, Hash, Hasher};

use arktos_core::{Encoded, ObjectPath};
use imbl::OrdMap;

/// Of every shape that the objects of a resource have, the last that was kept whole: those after it are kept as what
/// they differ in from it. Pods of one replica set in the same phase have one shape. Cloning it shares all.
///
/// What is a sample stays in memory after its object has changed or gone, as long as others are kept as what they
/// differ in from it, or until there are [too many](most). It is never of another namespace: what one tenant keeps does
/// not show in what another takes. Nor does a tenant with many shapes take the samples of others: its own go first.
#[derive(Clone, Default)]
pub(crate) struct Samples(OrdMap<Place, Encoded>);

/// A tenant, and a shape of its objects, as digests.
type Place = (u64, u64);

/// Below so many bytes an object is kept whole: what stands in front of its differences would be as long.
const LEAST: usize = 256;

/// Above so many bytes as well: a sample that outlives its object is never large.
const LARGEST: usize = 32 << 10;

/// There are never more samples than this.
const MOST: usize = 1 << 16;

impl Samples {
    /// An object as it is to be kept among so many others.
    pub(crate) fn keep(&mut self, path: &ObjectPath, object: &Encoded, others: usize) -> Encoded {
        if !(LEAST..=LARGEST).contains(&object.tail_length()) || object.is_like() {
            return object.clone();
        }
        let places = places(path, object);
        let samples = places.iter().filter_map(|place| self.0.get(place));
        if let Some(alike) = samples.filter_map(|sample| object.like(sample)).next() {
            return alike;
        }
        for place in places {
            self.trim(place.0, others);
            self.0.insert(place, object.clone());
        }
        object.clone()
    }

    /// An object of a tenant is gone, and so many are left: what it was a sample for may be gone as well.
    pub(crate) fn gone(&mut self, path: &ObjectPath, left: usize) {
        self.trim(digest(path.tenant()), left);
    }

    /// Forgets samples where there are more than so many objects need, of a tenant first.
    fn trim(&mut self, tenant: u64, objects: usize) {
        while self.0.len() > most(objects) {
            let own = self.0.range((tenant, 0)..=(tenant, u64::MAX)).next();
            let Some(place) = own.or_else(|| self.0.get_min().map(|(place, sample)| (place, sample))) else { return };
            let place = *place.0;
            self.0.remove(&place);
        }
    }
}

/// How many samples there may be beside so many objects.
fn most(objects: usize) -> usize {
    MOST.min(objects / 4)
}

/// Where the sample of an object's shape is, among those of its owner and among all of its namespace. Its shape is how
/// many texts it has.
fn places(path: &ObjectPath, object: &Encoded) -> [Place; 2] {
    let (tenant, namespace, _) = path.parts();
    let texts = object.tail().iter().filter(|byte| **byte == b'"').count();
    let owner = object.header().controller().map(|owner| owner.uid);
    [owner, None].map(|owner| (digest(tenant), digest((namespace, texts, owner))))
}

fn digest(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
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
        assert!(!small("default", "web-7", "nginx".repeat(3).as_str()), "another length");
    }

    #[test]
    fn there_are_few_samples_beside_few_objects_and_a_tenant_s_own_go_first() {
        let mut samples = Samples::default();
        let mut keep = |tenant: &str, number: usize, objects: usize| {
            let (path, pod) = pod(&format!("namespace-{number}"), "web", "nginx");
            let path = ObjectPath::new(tenant, path.namespace(), path.name());
            samples.keep(&path, &pod, objects).weight() * 2 < pod.weight()
        };
        assert!(!keep("quiet", 0, 40));
        for number in 0..100 {
            keep("noisy", number, 40);
        }
        assert!(keep("quiet", 0, 40));
        assert_eq!(samples.0.len(), 11);
        samples.gone(&ObjectPath::new("quiet", "namespace-0", "web"), 12);
        assert_eq!(samples.0.len(), 3);
        samples.gone(&ObjectPath::new("quiet", "namespace-0", "web"), 0);
        assert_eq!(samples.0.len(), 0);
    }
}
