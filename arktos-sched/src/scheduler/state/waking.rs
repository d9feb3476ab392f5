//! Which parked pods may have a place, now that something has changed.

use std::collections::BTreeSet;

use arktos_core::{ObjectPath, Timestamp};

use super::{LOOKS_MAX, State};
use crate::class::{Class, ClassId};
use crate::hosts::HostId;

/// Hosts that may have become a place, and the classes for which that is yet to be found out. There may be many: some
/// are looked at with every plan, and what changes meanwhile waits for the next round.
#[derive(Default)]
pub(super) struct Waking {
    hosts: Vec<HostId>,
    classes: BTreeSet<ClassId>,
    /// The state of the hosts' labels, taints and presence that pods with neighbours were woken for.
    version: u64,
}

impl Waking {
    /// Whether there is more to find out.
    pub(super) fn goes_on(&self) -> bool {
        !self.classes.is_empty()
    }

    /// Whether a class may have a place of which it is yet to be found out.
    pub(super) fn concerns(&self, class: ClassId) -> bool {
        self.classes.contains(&class)
    }
}

impl State {
    /// Wakes pods that may have a place now: of a class, as many as the hosts that changed have room for.
    pub(super) fn wake(&mut self, now: Timestamp) {
        for pod in std::mem::take(&mut self.claimed) {
            self.queue.wake_pod(&pod, now);
        }
        // Where a domain has lost its last host, others may have room again, though nothing has changed there.
        if std::mem::replace(&mut self.waking.version, self.pool.version()) != self.pool.version() {
            self.stirred.extend(self.sensitive.keys().cloned());
        }
        for tenant in std::mem::take(&mut self.stirred) {
            for pod in self.sensitive.remove(&tenant).unwrap_or_default() {
                self.queue.wake_pod(&pod, now);
            }
        }
        if !self.waking.goes_on() {
            let improved = self.pool.take_improved();
            if improved.is_empty() {
                return;
            }
            self.waking.hosts = improved.iter().collect();
            self.waking.classes = self.queue.parked_classes().chain(self.failures.keys().copied()).collect();
        }
        let mut looked = 0;
        while looked < LOOKS_MAX
            && let Some(class) = self.waking.classes.pop_first()
        {
            let (wanted, mut room) = (self.queue.parked(class).max(1), 0usize);
            let cost = self.pool.class(class).map_or(1, Class::cost);
            for host in &self.waking.hosts {
                looked += cost;
                room = room.saturating_add(self.pool.room(class, *host));
                if room >= wanted {
                    break;
                }
            }
            if room > 0 {
                self.failures.remove(&class);
                // Whom neighbours keep off may stay without a place: whoever comes after must not wait for that.
                let sensitive = &self.sensitive;
                let uses = |path: &ObjectPath| sensitive.get(path.tenant()).is_none_or(|pods| !pods.contains(path));
                self.queue.wake(class, room, now, uses);
            }
        }
    }
}
