//! Which objects of a namespace may select what has changed, without reading any of them.
//!
//! Who handles a change of a pod holds up what all controllers of all tenants are told next, and a tenant may have any
//! number of objects that select, each of megabytes. So what they select is read when they change, and kept where it is
//! as little as it mostly is; whatever has a longer selector is taken to select anything. Its controller sees.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arktos_core::typed::LabelSelectorSpec;
use arktos_core::{Encoded, Header, ObjectPath};
use arktos_store::informer::{Decode, Event};
use arktos_store::{Informer, Stored};
use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::setup::{beside, namespace_key};

/// So many labels of a selector are kept.
const KEPT: usize = 8;

/// What the objects of an informer select, as far as it is kept. Cloning it shares it.
#[derive(Clone, Default)]
pub(crate) struct Selecting(Arc<RwLock<HashMap<String, Here>>>); // written by the informer

/// What the objects of a namespace select, by their names.
type Here = BTreeMap<Box<str>, Labels>;

/// The labels that must have certain values; none where anything may be selected.
type Labels = Option<Box<[(Box<str>, Box<str>)]>>;

impl Selecting {
    /// Follows an informer. `read` says what an object selects; nothing where it selects nothing.
    pub(crate) fn follow<T: Decode<Source = Stored>>(
        informer: &Informer<T>,
        read: impl Fn(&T) -> Option<LabelSelectorSpec> + Send + Sync + 'static,
    ) -> Self {
        let all = Self::default();
        let kept = all.clone();
        informer.handle(move |event| {
            let selector = match event {
                Event::Removed { .. } => None,
                Event::Added { new, .. } | Event::Updated { new, .. } => read(new),
            };
            kept.put(event.path(), selector.as_ref());
        });
        all
    }

    fn put(&self, path: &ObjectPath, selector: Option<&LabelSelectorSpec>) {
        let mut all = self.0.write();
        let key = namespace_key(path);
        if let Some(selector) = selector {
            all.entry(key).or_default().insert(path.name().into(), labels(selector));
            return;
        }
        if let Some(here) = all.get_mut(&key) {
            here.remove(path.name());
            if here.is_empty() {
                all.remove(&key);
            }
        }
    }

    /// Those in the namespace of an object that may select it, as it was or as it is.
    pub(crate) fn may_select<'a>(
        &self,
        path: &ObjectPath,
        states: impl IntoIterator<Item = &'a Header>,
    ) -> Vec<ObjectPath> {
        let all = self.0.read();
        let Some(here) = all.get(&namespace_key(path)) else { return Vec::new() };
        let states: Vec<HashMap<&str, &str>> = states.into_iter().map(|header| header.labels().collect()).collect();
        let has = |labels: &Labels| {
            states.iter().any(|state| {
                let is = |(key, value): &(Box<str>, Box<str>)| state.get(&**key) == Some(&&**value);
                labels.as_deref().is_none_or(|labels| labels.iter().all(is))
            })
        };
        here.iter().filter(|(_, labels)| has(labels)).map(|(name, _)| beside(path, name)).collect()
    }
}

/// The selector of an object, as most kinds have it; nothing else of the object is read.
pub(crate) fn selector(object: &Encoded) -> Option<LabelSelectorSpec> {
    read(object)
}

/// The selector of an object whose kind knows no more than labels and their values.
pub(crate) fn plain_selector(object: &Encoded) -> Option<LabelSelectorSpec> {
    read(object).map(|match_labels| LabelSelectorSpec { match_labels, ..LabelSelectorSpec::default() })
}

fn read<T: DeserializeOwned>(object: &Encoded) -> Option<T> {
    #[derive(Deserialize)]
    struct Whole<T> {
        spec: Spec<T>,
    }
    #[derive(Deserialize)]
    struct Spec<T> {
        selector: Option<T>,
    }
    object.parse::<Whole<T>>().ok()?.spec.selector
}

fn labels(selector: &LabelSelectorSpec) -> Labels {
    let few = selector.match_expressions.is_empty() && selector.match_labels.len() <= KEPT;
    few.then(|| selector.match_labels.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arktos_core::Object;
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::PODS;

    fn pod(labels: &Value) -> Encoded {
        let pod = Object::from_value(json!({"metadata": {"name": "p", "labels": labels}})).expect("an object");
        Encoded::encode(&Arc::new(PODS.type_meta.clone()), &pod, &[]).expect("encodes")
    }

    #[test]
    fn what_may_select_is_told_by_few_labels_and_what_is_longer_may_always() {
        let all = Selecting::default();
        let path = |name: &str| ObjectPath::new("acme", "default", name);
        let many: serde_json::Map<String, Value> = (0..=KEPT).map(|at| (format!("l{at}"), json!("x"))).collect();
        for (name, selects) in [
            ("web", json!({"matchLabels": {"app": "web"}})),
            ("all", json!({})),
            ("odd", json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})),
            ("long", json!({"matchLabels": many})),
        ] {
            all.put(&path(name), Some(&serde_json::from_value(selects).expect("a selector")));
        }
        let told = |labels: &[Value]| {
            let pods: Vec<Encoded> = labels.iter().map(pod).collect();
            let told = all.may_select(&path("p"), pods.iter().map(Encoded::header));
            told.iter().map(|path| path.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(told(&[json!({"app": "web"})]), ["all", "long", "odd", "web"]);
        assert_eq!(told(&[json!({"app": "db"})]), ["all", "long", "odd"]);
        assert_eq!(told(&[json!({"app": "web"}), json!({})]), ["all", "long", "odd", "web"], "as it was, or is");
        all.put(&path("all"), None);
        assert_eq!(told(&[json!({})]), ["long", "odd"]);
        let other = pod(&json!({"app": "web"}));
        assert_eq!(all.may_select(&ObjectPath::new("umbra", "default", "p"), [other.header()]), []);
    }
}
