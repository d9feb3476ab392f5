//! One state of a store, as readers hold it.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use arktos_core::{GroupResource, ObjectKey, ObjectPath, Revision, Timestamp};

use super::at_rest::AtRest;
use super::objects::{Objects, Range};
use super::state::State;
use super::sync::Mutex;
use crate::select::{Selection, Stored, Within};

/// One state of a store, held without locks for as long as it is read. Cloning it shares it.
#[derive(Clone)]
pub struct Snapshot {
    state: Arc<State>,
    past: Option<Arc<Past>>,
    /// Objects are shown as they are to be kept.
    hidden: Option<Arc<AtRest>>,
}

/// The state at a past revision, made from a newer one by undoing the events in between, resource by resource, when
/// it is asked for.
pub(crate) struct Past {
    revision: Revision,
    newer: Arc<State>,
    /// What was made so far. Written by readers.
    made: Mutex<HashMap<GroupResource, Objects>>,
}

impl Snapshot {
    pub(crate) fn newest(state: Arc<State>) -> Self {
        Self { state, past: None, hidden: None }
    }

    pub(crate) fn past(past: Arc<Past>) -> Self {
        Self { state: past.newer.clone(), past: Some(past), hidden: None }
    }

    /// The same, with objects as they are to be kept.
    pub(crate) fn hidden_by(self, at_rest: Arc<AtRest>) -> Self {
        Self { hidden: Some(at_rest).filter(|at_rest| at_rest.encrypts()), ..self }
    }

    /// The revision of the state.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.past.as_ref().map_or(self.state.revision, |past| past.revision)
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Stored> {
        let found = match &self.past {
            None => self.state.get(key).cloned(),
            Some(past) => past.objects(&key.resource).get(&key.path).cloned(),
        };
        match &self.hidden {
            None => found.map(Arc::unwrap_or_clone),
            Some(at_rest) => at_rest.hide_stored(&key.resource, found?).map(Arc::unwrap_or_clone),
        }
    }

    /// The objects of a resource within a range of paths, in order, after a path where one is given.
    ///
    /// The iterator holds this one state and no locks; it costs the same memory however much there is to come.
    pub fn range<'a>(
        &'a self,
        resource: &GroupResource,
        within: &'a Within,
        after: Option<&ObjectPath>,
    ) -> Box<dyn Iterator<Item = Arc<Stored>> + Send + 'a> {
        let range = Range::new(self.objects(resource), within, after);
        match &self.hidden {
            None => Box::new(range),
            Some(at_rest) => {
                let resource = resource.clone();
                Box::new(range.filter_map(move |stored| at_rest.hide_stored(&resource, stored)))
            }
        }
    }

    /// The objects that a selection sees, in order, after a path where one is given. As [`range`](Self::range); pods of
    /// one host are found without looking at those of others.
    pub fn select<'a>(
        &'a self,
        selection: &'a Selection,
        after: Option<&ObjectPath>,
    ) -> Box<dyn Iterator<Item = Arc<Stored>> + Send + 'a> {
        let objects = self.objects(&selection.resource);
        if self.hidden.is_none()
            && let Some((found, mut more)) = objects.found(selection, after)
        {
            let mut ready = VecDeque::from(found);
            return Box::new(std::iter::from_fn(move || {
                while ready.is_empty() {
                    let (found, later) = objects.found(selection, Some(&more.take()?))?;
                    (ready, more) = (found.into(), later);
                }
                ready.pop_front()
            }));
        }
        let all = self.range(&selection.resource, &selection.within, after);
        Box::new(all.filter(|stored| selection.matches(&stored.path, &stored.object)))
    }

    /// Shows the objects of a resource within a range of paths, in order, after a path where one is given, until it is
    /// told to stop. As [`range`](Self::range), for who keeps none of them: it counts no references.
    pub fn walk(
        &self,
        resource: &GroupResource,
        within: &Within,
        after: Option<&ObjectPath>,
        mut visit: impl FnMut(&Stored) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match &self.hidden {
            None => self.objects(resource).walk(within, after, visit),
            Some(_) => self.range(resource, within, after).try_for_each(|stored| visit(&stored)),
        }
    }

    /// The number of objects of a resource within a range of paths. For everything it costs nothing; for less, a walk
    /// over the range.
    #[must_use]
    pub fn count(&self, resource: &GroupResource, within: &Within) -> usize {
        match within {
            Within::Everywhere => self.objects(resource).len(),
            _ => {
                let mut count = 0;
                let _ = self.walk(resource, within, None, |_| {
                    count += 1;
                    ControlFlow::Continue(())
                });
                count
            }
        }
    }

    /// The resources of which there are, or were, objects, in order.
    #[must_use]
    pub fn resources(&self) -> Vec<GroupResource> {
        self.state.resources().map(|(resource, _)| resource.clone()).collect()
    }

    /// The resources that have objects within a range of paths, in order.
    #[must_use]
    pub fn resources_within(&self, within: &Within) -> Vec<GroupResource> {
        let mut resources = self.resources();
        resources.retain(|resource| self.walk(resource, within, None, |_| ControlFlow::Break(())).is_break());
        resources
    }

    /// The counters that are not zero, in the newest state that this snapshot knows of.
    pub fn counters(&self) -> impl Iterator<Item = (&Arc<str>, i64)> {
        self.state.counters()
    }

    /// The number of the newest group that is in the newest state that this snapshot knows of.
    #[must_use]
    pub fn group(&self) -> u64 {
        self.state.group
    }

    /// The revision of the last event of each resource, and of resources whose objects are all gone.
    pub fn last_events(&self) -> impl Iterator<Item = (&GroupResource, Revision)> {
        self.state.resources().map(|(resource, kept)| (resource, kept.log.last()))
    }

    /// When the object that was written at a revision expires, if it does.
    #[must_use]
    pub fn expires(&self, revision: Revision) -> Option<Timestamp> {
        self.state.expires_at(revision)
    }

    /// When objects expire: the time, and the revision of the write that said so.
    pub fn expiries(&self) -> impl Iterator<Item = (Timestamp, Revision)> {
        self.state.expiries()
    }

    /// Readers may have been told of revisions up to here before they were durable.
    #[must_use]
    pub fn reserved(&self) -> Revision {
        self.state.reserved
    }

    /// The revision after which all events are still kept.
    pub(crate) fn history_begins(&self) -> Revision {
        self.state.history_begins()
    }

    /// Revisions that were given out and lost: those after the first and before the second of each pair.
    pub fn lost(&self) -> impl Iterator<Item = (Revision, Revision)> {
        self.state.lost.iter().map(|lost| (lost.after, lost.resumed))
    }

    fn objects(&self, resource: &GroupResource) -> Objects {
        match &self.past {
            None => self.state.resource(resource).map(|kept| kept.objects.clone()).unwrap_or_default(),
            Some(past) => past.objects(resource),
        }
    }
}

impl Past {
    pub(crate) fn new(revision: Revision, newer: Arc<State>) -> Self {
        Self { revision, newer, made: Mutex::default() }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    fn objects(&self, resource: &GroupResource) -> Objects {
        let mut made = self.made.lock(); // held while undoing, so that two readers do not both do it
        if let Some(objects) = made.get(resource) {
            return objects.clone();
        }
        let Some(kept) = self.newer.resource(resource) else { return Objects::default() };
        let mut objects = kept.objects.clone();
        for place in (kept.log.first_after(self.revision)..kept.log.end()).rev() {
            let Some(event) = kept.log.get(place) else { continue };
            let Some(path) = event.stored.as_ref().map(|stored| &stored.path) else { continue };
            match &event.old {
                Some((revision, object)) => {
                    let stored = Stored { path: path.clone(), revision: *revision, object: object.clone() };
                    objects.insert(Arc::new(stored));
                }
                None => {
                    objects.remove(path);
                }
            }
        }
        made.insert(resource.clone(), objects.clone());
        objects
    }
}
