//! Connections whose tenant is not known yet, and which of them is closed when there is no room for a new one.
//!
//! Anybody can open connections and say nothing, or nothing that counts. So what they hold is bounded in all, and from
//! one address; and whoever comes last is let in: it is the oldest with nothing under way that ends. Who has something
//! to say has said it long before that.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// All that there are.
pub(super) struct Strangers {
    most: usize,
    most_of_one: usize,
    /// Written by each that comes, goes, asks or is answered.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The number of the next: who came later has a higher one.
    next: u64,
    held: HashMap<u64, Held>,
    all: Line,
    from: HashMap<IpAddr, Line>,
}

struct Held {
    source: IpAddr,
    end: Arc<Notify>,
}

/// Some of them, by age.
#[derive(Default)]
struct Line {
    all: BTreeSet<u64>,
    idle: BTreeSet<u64>,
}

impl Line {
    /// The one that ends first.
    fn first(&self) -> Option<u64> {
        self.idle.first().or_else(|| self.all.first()).copied()
    }
}

/// One of them, until this is dropped.
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    number: u64,
}

impl Strangers {
    /// So many at most, and from one source.
    pub(super) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, known: Mutex::default() })
    }

    /// A new one, from a source; with it whoever is told when it is to end. Where there is no place, another one ends.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr) -> (Stranger, Arc<Notify>) {
        let end = Arc::new(Notify::new());
        let mut known = self.known.lock();
        let of_one = known.from.get(&source).filter(|line| line.all.len() >= self.most_of_one).and_then(Line::first);
        let of_all = || known.all.first().filter(|_| known.all.all.len() >= self.most);
        if let Some(first) = of_one.or_else(of_all) {
            known.end(first);
        }
        let number = known.next;
        known.next += 1;
        known.held.insert(number, Held { source, end: end.clone() });
        known.put(number, source, true);
        drop(known);
        (Stranger { strangers: self.clone(), number }, end)
    }

    /// Has the one end that is the first to.
    pub(super) fn make_room(&self) {
        let mut known = self.known.lock();
        if let Some(first) = known.all.first() {
            known.end(first);
        }
    }
}

impl Known {
    fn put(&mut self, number: u64, source: IpAddr, idle: bool) {
        for line in [&mut self.all, self.from.entry(source).or_default()] {
            line.all.insert(number);
            if idle {
                line.idle.insert(number);
            } else {
                line.idle.remove(&number);
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Held> {
        let held = self.held.remove(&number)?;
        if let Some(line) = self.from.get_mut(&held.source) {
            line.all.remove(&number);
            line.idle.remove(&number);
            if line.all.is_empty() {
                self.from.remove(&held.source);
            }
        }
        self.all.all.remove(&number);
        self.all.idle.remove(&number);
        Some(held)
    }

    fn end(&mut self, number: u64) {
        if let Some(held) = self.remove(number) {
            held.end.notify_one();
        }
    }
}

impl Stranger {
    /// Whether nothing that was asked over it is under way.
    pub(super) fn set_idle(&self, idle: bool) {
        let mut known = self.strangers.known.lock();
        if let Some(source) = known.held.get(&self.number).map(|held| held.source) {
            known.put(self.number, source, idle);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.known.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn from(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn has_ended(one: &(Stranger, Arc<Notify>)) -> bool {
        one.1.notified().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_that_is_idle_ends_for_a_new_one() {
        let strangers = Strangers::new(3, 3);
        let three = [1, 2, 3].map(|last| strangers.enter(from(last)));
        three[0].0.set_idle(false);
        let fourth = strangers.enter(from(4));
        assert_eq!(three.each_ref().map(has_ended), [false, true, false]);
        three[0].0.set_idle(true);
        let fifth = strangers.enter(from(5));
        assert_eq!(three.each_ref().map(has_ended), [true, false, false]);
        [&three[2], &fourth, &fifth].into_iter().for_each(|one| one.0.set_idle(false));
        let sixth = strangers.enter(from(6));
        assert!(has_ended(&three[2]) && !has_ended(&fourth), "where none is idle, the oldest of all");
        drop((three, fourth, fifth, sixth));
        let known = strangers.known.lock();
        assert!(known.held.is_empty() && known.from.is_empty() && known.all.all.is_empty());
    }

    #[test]
    fn who_comes_with_many_from_one_address_has_its_own_end() {
        let strangers = Strangers::new(100, 2);
        let other = strangers.enter(from(1));
        let own = [(), (), ()].map(|()| strangers.enter(from(2)));
        assert_eq!(own.each_ref().map(has_ended), [true, false, false]);
        assert!(!has_ended(&other));
        strangers.make_room();
        assert!(has_ended(&other), "for all together it is the oldest");
    }
}
