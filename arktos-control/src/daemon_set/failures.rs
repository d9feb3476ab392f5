//! Failed pods of daemon sets: how long each host's is left before it is deleted and made anew. A host may refuse
//! each new one at once, and so for ever.

use std::collections::HashMap;
use std::time::Duration;

use arktos_core::{ObjectPath, Timestamp};
use arktos_store::Stored;
use parking_lot::Mutex;

/// The first wait on a host; it doubles with each failure there.
const FIRST: Duration = Duration::from_secs(1);
/// The longest; after twice as long without a failure it begins anew.
const MAX: Duration = Duration::from_secs(15 * 60);

/// Written by the worker that has the daemon set in hand.
#[derive(Default)]
pub(super) struct Failures(Mutex<HashMap<ObjectPath, OfSet>>);

/// Those of a daemon set in one generation: what is asked for anew is tried anew.
#[derive(Default)]
struct OfSet {
    uid: String,
    observed: i64,
    /// By host: how long to wait, and since when.
    hosts: HashMap<Box<str>, (Duration, Timestamp)>,
}

impl Failures {
    /// How long a failed pod on a host is still to be left; nothing when it may go now, which counts as a failure.
    pub(super) fn wait(&self, set: &Stored, observed: i64, host: &str, now: Timestamp) -> Option<Duration> {
        let (mut all, uid) = (self.0.lock(), set.object.header().uid());
        let mine = all.entry(set.path.clone()).or_default();
        if mine.uid != uid || mine.observed != observed {
            *mine = OfSet { uid: uid.to_owned(), observed, hosts: HashMap::new() };
        }
        let (wait, since) = mine.hosts.entry(host.into()).or_insert((Duration::ZERO, now));
        let passed = now.since(*since);
        if passed > MAX * 2 {
            *wait = Duration::ZERO;
        }
        if passed < *wait {
            return Some(*wait - passed);
        }
        *wait = (*wait * 2).clamp(FIRST, MAX);
        *since = now;
        None
    }

    /// Forgets the failures of a daemon set that are long past.
    pub(super) fn tidy(&self, set: &ObjectPath, now: Timestamp) {
        let mut all = self.0.lock();
        let Some(mine) = all.get_mut(set) else { return };
        mine.hosts.retain(|_, (_, since)| now.since(*since) <= MAX * 2);
        if mine.hosts.is_empty() {
            all.remove(set);
        }
    }

    /// Forgets a daemon set that is gone.
    pub(super) fn forget(&self, set: &ObjectPath) {
        self.0.lock().remove(set);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arktos_core::{Encoded, Object, Revision};
    use serde_json::json;

    use super::*;
    use crate::kinds::DAEMON_SETS;

    #[test]
    fn the_wait_doubles_on_each_host_and_begins_anew_with_a_generation() {
        let object = Object::from_value(json!({"metadata": {"name": "d", "uid": "u"}})).expect("an object");
        let object = Encoded::encode(&Arc::new(DAEMON_SETS.type_meta.clone()), &object, &[]).expect("encodes");
        let set = Stored { path: ObjectPath::new("t", "n", "d"), revision: Revision(1), object };
        let failures = Failures::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
        assert_eq!(failures.wait(&set, 1, "a", at(0)), None, "the first goes at once");
        assert_eq!(failures.wait(&set, 1, "a", at(0)), seconds(1));
        assert_eq!(failures.wait(&set, 1, "b", at(0)), None);
        assert_eq!(failures.wait(&set, 1, "a", at(1)), None);
        assert_eq!(failures.wait(&set, 1, "a", at(1)), seconds(2));
        assert_eq!(failures.wait(&set, 2, "a", at(1)), None, "something else is asked for");
        assert_eq!(failures.wait(&set, 2, "a", at(1)), seconds(1));
        assert_eq!(failures.wait(&set, 2, "a", at(5_000)), None);
        assert_eq!(failures.wait(&set, 2, "a", at(5_000)), seconds(1), "long past");
        failures.tidy(&set.path, at(10_000));
        assert!(failures.0.lock().is_empty());
    }
}
