//! Reinvocation: which policies and webhooks are asked once more, because the object was changed after they were asked.

use serde_json::{Map, Value};

/// What is remembered of one plugin between the first time that it runs for a write and the second.
pub(super) struct Again<K> {
    /// Who was asked and wants to be asked again when something changes.
    invoked: Vec<K>,
    /// Who is to be asked again.
    again: Vec<K>,
    /// The object as the plugin left it.
    left: Map<String, Value>,
    /// Whether this is the second time.
    second: bool,
    /// Whether something changed, so that there is to be a second time.
    changed: bool,
}

impl<K: PartialEq> Again<K> {
    pub(super) fn new() -> Self {
        Self { invoked: Vec::new(), again: Vec::new(), left: Map::new(), second: false, changed: false }
    }

    /// Begins the second time. What others changed meanwhile, those who want to are asked about.
    pub(super) fn begin(&mut self, object: &Map<String, Value>) {
        self.second = true;
        if *object != self.left {
            self.again.append(&mut self.invoked);
        }
    }

    /// Whether somebody is asked now.
    pub(super) fn asks(&self, who: &K) -> bool {
        !self.second || self.again.contains(who)
    }

    /// Notes that the object was changed: whoever was asked before is asked again.
    pub(super) fn change(&mut self) {
        self.changed = true;
        self.again.append(&mut self.invoked);
    }

    /// Notes that somebody was asked who wants to be asked again.
    pub(super) fn ask(&mut self, who: K) {
        self.invoked.push(who);
    }

    /// Ends one time.
    pub(super) fn end(&mut self, object: &Map<String, Value>) {
        self.left.clone_from(object);
    }

    /// Whether there is to be a second time.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }
}
