//! What is to be written for tenants by and by, where what one has made slow must hold up nobody else.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use arktos_core::ObjectPath;
use parking_lot::Mutex;

use super::{Outcome, WorkQueue};
use crate::clock::Clock;

/// Things to do about objects, in the order in which they came for each. Of several tenants' objects each comes in
/// turn, and no tenant keeps all workers. How much waits is bounded, in all and for one tenant: what comes beyond is
/// refused. Cloning it shares it.
pub struct Backlog<T>(Arc<Shared<T>>);

struct Shared<T> {
    queue: WorkQueue<ObjectPath>,
    /// Written by who puts something in, and by who works.
    waiting: Mutex<Waiting<T>>,
    most: usize,
    most_of_one: usize,
}

struct Waiting<T> {
    things: HashMap<ObjectPath, Vec<T>>,
    of_tenants: HashMap<Box<str>, usize>,
    all: usize,
}

impl<T> Backlog<T> {
    /// One in which so many things wait at most, and so many of one tenant.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, most: usize, most_of_one: usize) -> Self {
        let waiting = Mutex::new(Waiting { things: HashMap::new(), of_tenants: HashMap::new(), all: 0 });
        Self(Arc::new(Shared { queue: WorkQueue::new(clock), waiting, most, most_of_one }))
    }

    /// Puts something in for an object. Says whether there was room.
    pub fn put(&self, about: ObjectPath, thing: T) -> bool {
        let mut waiting = self.0.waiting.lock();
        let of_one = waiting.of_tenants.get(about.tenant()).copied().unwrap_or(0);
        if waiting.all >= self.0.most || of_one >= self.0.most_of_one {
            return false;
        }
        waiting.all += 1;
        *waiting.of_tenants.entry(about.tenant().into()).or_default() += 1;
        waiting.things.entry(about.clone()).or_default().push(thing);
        drop(waiting);
        self.0.queue.add(about);
        true
    }

    /// Does what there is to do, for up to `workers` objects at once. Ends by being dropped.
    pub async fn run<F: Future<Output = ()>>(&self, workers: usize, work: impl Fn(ObjectPath, Vec<T>) -> F) {
        let work = |about: ObjectPath| {
            let things = self.take(&about);
            let working = work(about, things);
            async move {
                working.await;
                Outcome::Done
            }
        };
        self.0.queue.run(workers, work).await;
    }

    fn take(&self, about: &ObjectPath) -> Vec<T> {
        let mut waiting = self.0.waiting.lock();
        let things = waiting.things.remove(about).unwrap_or_default();
        waiting.all -= things.len();
        if let Some(of_one) = waiting.of_tenants.get_mut(about.tenant()) {
            *of_one -= things.len();
            if *of_one == 0 {
                waiting.of_tenants.remove(about.tenant());
            }
        }
        things
    }
}

impl<T> Clone for Backlog<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;

    use super::*;
    use crate::clock::ManualClock;
    use crate::step::settle;
    use arktos_core::Timestamp;

    #[test]
    fn what_does_not_end_for_one_tenant_is_done_for_others_and_fills_nobodys_room() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let (backlog, done) = (Backlog::new(clock, 12, 10), RefCell::new(Vec::new()));
        let (slow, quick) =
            (|at: u8| ObjectPath::new("acme", "n", &format!("{at}")), ObjectPath::new("umbra", "n", "x"));
        let done_in = &done;
        let mut running = pin!(backlog.run(2, |about: ObjectPath, things: Vec<u8>| async move {
            if about.tenant() == "acme" {
                std::future::pending::<()>().await;
            }
            done_in.borrow_mut().extend(things);
        }));
        assert_eq!((0..20).filter(|at| backlog.put(slow(*at), *at)).count(), 10);
        assert!(settle(running.as_mut()).is_pending());
        assert!(backlog.put(quick.clone(), 1) && backlog.put(quick, 2));
        assert!(settle(running.as_mut()).is_pending());
        assert_eq!(*done.borrow(), [1, 2], "in their order");
    }
}
