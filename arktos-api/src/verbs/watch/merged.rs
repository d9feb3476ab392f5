//! Two cursors over one resource as one, in the order of revisions.

use std::task::{Context, Poll};

use arktos_core::Revision;
use arktos_store::{Cursor, Delivery, WatchError};

/// What two selections see that have nothing in common. An event wakes whoever reads this only where one of them
/// selects it.
pub(super) struct Merged {
    cursors: [Cursor; 2],
    /// What each has next, where that is known.
    next: [Option<Delivery>; 2],
}

impl Merged {
    pub(super) fn new(cursors: [Cursor; 2]) -> Self {
        Self { cursors, next: [None, None] }
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Delivery, WatchError>> {
        self.look(0, context)?;
        self.look(1, context)?;
        if self.next[1].is_some() {
            // Once more: what the second has may have come after the first was asked, and something before it. Where
            // the second has nothing, what comes now is left, as something of the second's may have come before that.
            self.look(0, context)?;
        }
        let first = match &self.next {
            [Some(one), Some(other)] => usize::from(other.revision() < one.revision()),
            [one, _] => usize::from(one.is_none()),
        };
        self.next[first].take().map_or(Poll::Pending, |next| Poll::Ready(Ok(next)))
    }

    fn look(&mut self, at: usize, context: &mut Context<'_>) -> Result<(), WatchError> {
        if self.next[at].is_none()
            && let Poll::Ready(next) = self.cursors[at].poll_next(context)
        {
            self.next[at] = Some(next?);
        }
        Ok(())
    }

    /// The revision of a bookmark that may be sent now.
    pub(super) fn bookmark_now(&mut self) -> Option<Revision> {
        if self.next.iter().any(Option::is_some) {
            return None;
        }
        let [one, other] = &mut self.cursors;
        Some(one.bookmark_now().min(other.bookmark_now()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arktos_core::{GroupResource, ObjectPath, TenantName};
    use arktos_store::clock::ManualClock;
    use arktos_store::{Change, Commit, Engine, Expect, Selection, Within};
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_two_see_comes_in_order_and_nothing_else_does() {
        let clock = Arc::new(ManualClock::new(arktos_core::Timestamp::from_micros(0)));
        let engine = Engine::memory(clock);
        let maps = GroupResource::core("configmaps");
        let put = |tenant: &str, name: &str| {
            let kind = arktos_core::catalog::Catalog::builtin().storage(&maps).expect("is built in");
            let object = arktos_core::Object::new(&kind.type_meta, name);
            let path = ObjectPath::new(tenant, "default", name);
            let key = arktos_core::ObjectKey { resource: maps.clone(), path };
            let change = Change::put(kind.encode(&object).expect("encodes"));
            let done = engine.commit(Commit::one(key, Expect::Anything, change)).now_or_never().expect("at once");
            done.expect("committed").revision
        };
        let begin = put("acme", "before");
        let cursor = |tenant: &str| {
            let within = Within::Tenant(TenantName::new(tenant).expect("a name"));
            engine.watch(Selection::all(maps.clone(), within), begin).expect("opens")
        };
        let mut merged = Merged::new([cursor("acme"), cursor("system")]);
        let poll = |merged: &mut Merged| {
            let polled = merged.poll_next(&mut Context::from_waker(std::task::Waker::noop()));
            match polled {
                Poll::Ready(next) => next.expect("goes on").stored().map(|stored| stored.path.to_string()),
                Poll::Pending => None,
            }
        };
        assert_eq!(poll(&mut merged), None);
        for (tenant, name) in [("system", "a"), ("acme", "b"), ("umbra", "c"), ("acme", "d"), ("system", "e")] {
            put(tenant, name);
        }
        let last = put("umbra", "f");
        assert_eq!(poll(&mut merged).as_deref(), Some("system/default/a"));
        assert!(merged.bookmark_now().is_none_or(|bookmark| bookmark < last), "there is more");
        let rest: Vec<String> = std::iter::from_fn(|| poll(&mut merged)).collect();
        assert_eq!(rest, ["acme/default/b", "acme/default/d", "system/default/e"]);
        assert_eq!(merged.bookmark_now(), Some(last));
    }
}
