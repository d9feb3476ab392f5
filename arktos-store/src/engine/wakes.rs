//! Who must be woken by an event: an index of the cursors of one resource by what their selections ask for.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::task::Waker;

use arktos_core::{Encoded, Revision};

use super::history::{Event, EventLog};
use crate::select::{Field, Selection, Within};

/// How many events are noted for a cursor that does not come to read them; what follows it looks for by itself.
const DUE: usize = 16;

/// The cursors of one resource. Written by cursors (their own slot) and by whoever publishes (`pending`, `noted`).
///
/// Every cursor has a slot from its first to its last day, filed under the hash of what it asks for: a scope and, where
/// its selection has one, the value of one field. An event looks up the few hashes it could be filed under, so what it
/// costs does not grow with the number of cursors it does not concern. Two hashes that collide wake a cursor in vain,
/// no more.
pub(crate) struct Wakes {
    hasher: RandomState,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    filed: HashMap<u64, Vec<u32>>,
    /// What kinds of questions are asked at all, and by how many cursors.
    shapes: Vec<(Shape, usize)>,
    /// Events up to this place were looked at here.
    noted: u64,
    /// The revision of the state whose events were last looked at.
    noted_at: Revision,
    /// Nothing is published any more. Known here, so that a cursor learns it together with what it is told of: whoever
    /// sees it was told of everything before.
    closed: bool,
}

struct Slot {
    mark: u64,
    /// The slot's index in its file.
    at: usize,
    shape: Shape,
    /// What it is told of; nothing while it reads the log by itself.
    told: Option<Told>,
    waker: Option<Waker>,
}

/// What a cursor is told of that has read the log to its end once: however far it falls behind then, it need not look
/// at the events of others.
struct Told {
    /// It has read all before this place.
    from: u64,
    /// The places of the events since that may be its business and that it has not read, in their order.
    due: VecDeque<u64>,
    /// There was no room for more: what follows the last of `due` is not known.
    more: bool,
}

/// Where a cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It reads the log by itself, from where it is.
    Reading,
    /// It has read all before this place, and nothing since was its business but what it has read.
    Parked(u64),
    /// This is the next event that may be its business.
    Due(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    scope: Scope,
    field: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    Everywhere,
    Tenant,
    Namespace,
    Object,
    /// A name, in every tenant and namespace.
    Name,
    /// A name, in every namespace of a tenant.
    TenantName,
}

impl Wakes {
    pub(crate) fn new(noted: u64, noted_at: Revision, closed: bool) -> Self {
        Self {
            hasher: RandomState::new(),
            slots: Vec::new(),
            free: Vec::new(),
            filed: HashMap::new(),
            shapes: Vec::new(),
            noted,
            noted_at,
            closed,
        }
    }

    /// Whether nothing is published any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many cursors there are.
    pub(crate) fn cursors(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Gives a cursor its slot.
    pub(crate) fn register(&mut self, selection: &Selection) -> u32 {
        let (shape, mark) = self.file_of(selection);
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let file = self.filed.entry(mark).or_default();
        file.push(id);
        let slot = Slot { mark, at: file.len() - 1, shape, told: None, waker: None };
        if let Some(place) = self.slots.get_mut(id as usize) {
            *place = Some(slot);
        }
        match self.shapes.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, cursors)) => *cursors += 1,
            None => self.shapes.push((shape, 1)),
        }
        id
    }

    /// Takes a slot back.
    pub(crate) fn deregister(&mut self, id: u32) {
        let Some(slot) = self.slots.get_mut(id as usize).and_then(Option::take) else { return };
        self.free.push(id);
        if let Some(file) = self.filed.get_mut(&slot.mark) {
            file.swap_remove(slot.at);
            if let Some(moved) = file.get(slot.at).copied() {
                if let Some(Some(moved)) = self.slots.get_mut(moved as usize) {
                    moved.at = slot.at;
                }
            } else if file.is_empty() {
                self.filed.remove(&slot.mark);
            }
        }
        if let Some(place) = self.shapes.iter().position(|(shape, _)| *shape == slot.shape) {
            self.shapes[place].1 -= 1;
            if self.shapes[place].1 == 0 {
                self.shapes.swap_remove(place);
            }
        }
    }

    /// Parks a cursor that has read all before `place`, which is the end of the newest log.
    pub(crate) fn park(&mut self, id: u32, place: u64, waker: &Waker) {
        if let Some(Some(slot)) = self.slots.get_mut(id as usize) {
            slot.told = Some(Told { from: place, due: VecDeque::new(), more: false });
            slot.waker = Some(waker.clone());
        }
    }

    /// Where a cursor stands. All events that are due are handed over to `due`, which is empty, and count as read from
    /// now on; a parked cursor is woken by `waker` from now on.
    pub(crate) fn resume(&mut self, id: u32, due: &mut VecDeque<u64>, waker: &Waker) -> Standing {
        let Some(Some(slot)) = self.slots.get_mut(id as usize) else { return Standing::Reading };
        let Some(told) = &mut slot.told else { return Standing::Reading };
        let Some(place) = told.due.front().copied() else {
            match &mut slot.waker {
                Some(known) => known.clone_from(waker),
                None => slot.waker = Some(waker.clone()),
            }
            return Standing::Parked(told.from);
        };
        std::mem::swap(&mut told.due, due);
        if told.more {
            slot.told = None;
        }
        Standing::Due(place)
    }

    /// Where a cursor stands.
    pub(crate) fn standing(&self, id: u32) -> Standing {
        let told = self.slots.get(id as usize).and_then(Option::as_ref).and_then(|slot| slot.told.as_ref());
        match told.map(|told| (told.due.front(), told.from)) {
            None => Standing::Reading,
            Some((None, from)) => Standing::Parked(from),
            Some((Some(place), _)) => Standing::Due(*place),
        }
    }

    /// Up to which revision nothing was a parked cursor's business, given the newest log and state.
    pub(crate) fn clear_until(&self, parked: u64, log: &EventLog, revision: Revision) -> Revision {
        if log.end() == self.noted || log.end() == parked { revision } else { self.noted_at }
    }

    /// Looks at the events of a published log that were not looked at before. Hands over whom to wake.
    pub(crate) fn note(&mut self, log: &EventLog, revision: Revision, wake: &mut Vec<Waker>) {
        if log.base() > self.noted {
            self.unpark(wake); // what was dropped before anybody looked at it may concern everybody
        }
        for place in self.noted.max(log.base())..log.end() {
            if let Some(event) = log.get(place) {
                self.note_event(place, event, wake);
            }
        }
        if log.end() > self.noted || revision > self.noted_at {
            self.noted = self.noted.max(log.end());
            self.noted_at = self.noted_at.max(revision);
        }
    }

    /// Says that nothing is published any more, after everything was noted, and hands over everybody.
    pub(crate) fn close(&mut self, wake: &mut Vec<Waker>) {
        self.closed = true;
        wake.extend(self.slots.iter_mut().flatten().filter_map(|slot| slot.waker.take()));
    }

    /// Lets every parked cursor read on by itself, and hands over whom to wake: the log was replaced.
    pub(crate) fn unpark(&mut self, wake: &mut Vec<Waker>) {
        for slot in self.slots.iter_mut().flatten() {
            slot.told = None;
            wake.extend(slot.waker.take());
        }
    }

    fn note_event(&mut self, place: u64, event: &Event, wake: &mut Vec<Waker>) {
        let Some(path) = event.stored.as_ref().map(|stored| &stored.path) else { return };
        for index in 0..self.shapes.len() {
            let Shape { scope, field } = self.shapes[index].0;
            let Some(field) = field else {
                self.wake(self.mark(scope, path.parts(), None), place, wake);
                continue;
            };
            let old = event.old.as_ref().map(|(_, object)| field_of(object, field));
            let new = event.after().map(|object| field_of(object, field));
            for value in [old, new.filter(|new| old != Some(*new))].into_iter().flatten() {
                self.wake(self.mark(scope, path.parts(), Some((field, value))), place, wake);
            }
        }
    }

    fn wake(&mut self, mark: u64, place: u64, wake: &mut Vec<Waker>) {
        for id in self.filed.get(&mark).into_iter().flatten() {
            let Some(Some(slot)) = self.slots.get_mut(*id as usize) else { continue };
            let Some(told) = slot.told.as_mut().filter(|told| told.from <= place && !told.more) else { continue };
            if told.due.back() == Some(&place) {
                continue; // it is filed under what the object was and under what it is
            }
            if told.due.len() < DUE {
                told.due.push_back(place);
            } else {
                told.more = true;
            }
            wake.extend(slot.waker.take());
        }
    }

    /// Where a selection is filed: under what it asks for, or something wider.
    fn file_of(&self, selection: &Selection) -> (Shape, u64) {
        let term = selection.fields.iter().filter(|test| test.equal).find_map(|test| match test.field {
            Field::At(field) => Some((field, test.value.as_str())),
            _ => None,
        });
        let name = selection.fields.iter().find(|test| test.equal && test.field == Field::Name);
        let (scope, path) = match (&selection.within, name) {
            (Within::Object(path), _) => (Scope::Object, path.parts()),
            (Within::Namespace(tenant, namespace), Some(name)) => {
                (Scope::Object, (tenant.as_str(), namespace.as_str(), name.value.as_str()))
            }
            (Within::Namespace(tenant, namespace), None) => {
                (Scope::Namespace, (tenant.as_str(), namespace.as_str(), ""))
            }
            (Within::Tenant(tenant), Some(name)) => (Scope::TenantName, (tenant.as_str(), "", name.value.as_str())),
            (Within::Everywhere, Some(name)) => (Scope::Name, ("", "", name.value.as_str())),
            (Within::Tenant(tenant), None) => (Scope::Tenant, (tenant.as_str(), "", "")),
            (Within::Everywhere, None) => (Scope::Everywhere, ("", "", "")),
        };
        let term = if matches!(scope, Scope::Object | Scope::Name | Scope::TenantName) { None } else { term };
        (Shape { scope, field: term.map(|(field, _)| field) }, self.mark(scope, path, term))
    }

    fn mark(&self, scope: Scope, path: (&str, &str, &str), term: Option<(usize, &str)>) -> u64 {
        let (tenant, namespace, name) = path;
        let within = match scope {
            Scope::Everywhere => ("", "", ""),
            Scope::Tenant => (tenant, "", ""),
            Scope::Namespace => (tenant, namespace, ""),
            Scope::Object => (tenant, namespace, name),
            Scope::Name => ("", "", name),
            Scope::TenantName => (tenant, "", name),
        };
        self.hasher.hash_one((scope, within, term))
    }
}

fn field_of(object: &Encoded, field: usize) -> &str {
    object.header().field(field)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use arktos_core::{GroupResource, Object, ObjectPath, TenantName, Timestamp, TypeMeta};
    use serde_json::json;

    use super::*;
    use crate::select::{FieldTest, Stored};

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn named(within: Within, name: &str) -> Selection {
        let mut selection = Selection::all(GroupResource::core("nodes"), within);
        selection.fields.push(FieldTest { field: Field::Name, value: name.to_owned(), equal: true });
        selection
    }

    fn event_of(name: &str, revision: u64) -> Event {
        let type_meta = Arc::new(TypeMeta::new("", "v1", "Node"));
        let object = Object::from_value(json!({"metadata": {"name": name}})).expect("an object");
        let object = Encoded::encode(&type_meta, &object, &[]).expect("encodes");
        let stored = Stored { path: ObjectPath::new("t", "", name), revision: Revision(revision), object };
        Event {
            stored: Some(Arc::new(stored)),
            deleted: false,
            revision: Revision(revision),
            previous: Revision::ZERO,
            time: Timestamp::default(),
            old: None,
        }
    }

    /// One that falls behind is told where its own events are, and does not look through those of others for them; one
    /// that never comes costs no more than so many.
    #[test]
    fn a_cursor_that_is_behind_is_told_where_its_events_are_as_far_as_there_is_room() {
        let mut wakes = Wakes::new(0, Revision::ZERO, false);
        let counter: Arc<Counter> = Arc::default();
        let id = wakes.register(&named(Within::Everywhere, "mine"));
        wakes.park(id, 3, &counter.clone().into());
        let mine = |place: u64| place % 10 == 2;
        let resume = |wakes: &mut Wakes| {
            let mut due = VecDeque::new();
            (wakes.resume(id, &mut due, Waker::noop()), due.into_iter().collect::<Vec<_>>())
        };
        let note = |wakes: &mut Wakes, places: std::ops::Range<u64>| {
            let mut wake = Vec::new();
            for place in places {
                wakes.note_event(place, &event_of(if mine(place) { "mine" } else { "other" }, place + 1), &mut wake);
            }
            wake.into_iter().for_each(Waker::wake);
        };
        note(&mut wakes, 0..35);
        assert_eq!(wakes.standing(id), Standing::Due(12), "what it has read already is not told again");
        assert_eq!(resume(&mut wakes), (Standing::Due(12), vec![12, 22, 32]));
        note(&mut wakes, 35..43); // while it reads
        assert_eq!(resume(&mut wakes), (Standing::Due(42), vec![42]));
        assert_eq!(resume(&mut wakes), (Standing::Parked(3), vec![]));
        assert_eq!(counter.0.load(Ordering::Relaxed), 1, "one that is awake is not woken");

        let room = u64::try_from(DUE).expect("a small number");
        note(&mut wakes, 43..43 + 10 * (room + 5));
        assert_eq!(resume(&mut wakes), (Standing::Due(52), (0..room).map(|due| 52 + 10 * due).collect()));
        assert_eq!(resume(&mut wakes).0, Standing::Reading, "what follows it looks for by itself");
    }

    /// Hosts that watch themselves by name alone, wherever they look for it: an event wakes one of them.
    #[test]
    fn an_event_wakes_those_who_asked_for_its_name_wherever_they_look() {
        let tenant = || TenantName::new("t").expect("a tenant");
        let namespace = Within::Namespace(tenant(), String::new());
        for within in [Within::Everywhere, Within::Tenant(tenant()), namespace] {
            let mut wakes = Wakes::new(0, Revision::ZERO, false);
            let counters: Vec<Arc<Counter>> = (0..100).map(|_| Arc::default()).collect();
            for (at, counter) in counters.iter().enumerate() {
                let id = wakes.register(&named(within.clone(), &format!("n{at}")));
                wakes.park(id, 0, &counter.clone().into());
            }
            let mut wake = Vec::new();
            wakes.note_event(0, &event_of("n7", 1), &mut wake);
            wake.into_iter().for_each(Waker::wake);
            let woken: Vec<usize> = counters.iter().map(|counter| counter.0.load(Ordering::Relaxed)).collect();
            assert_eq!((woken.iter().sum::<usize>(), woken[7]), (1, 1), "{within:?}");
        }
    }
}
