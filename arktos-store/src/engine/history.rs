//! What happened to a resource: its events, each linked to the one before.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Encoded, Revision, Timestamp};
use imbl::OrdMap;

use crate::select::{Delivery, Selection, Stored};

/// One write, as watchers see it.
#[derive(Debug)]
pub(crate) struct Event {
    /// The revision of the write.
    pub revision: Revision,
    /// The revision of the event before it in the same log; gaps show here and nowhere else.
    pub previous: Revision,
    /// When it was written.
    pub time: Timestamp,
    /// The object as watchers are told of it: as it is from here on, or as it was when it was deleted, at the revision
    /// of this write. Absent where there was nothing to delete.
    pub stored: Option<Arc<Stored>>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// The object before, and the revision it had.
    pub old: Option<(Revision, Encoded)>,
}

impl Event {
    /// What a watcher of a selection is told, if anything.
    pub(crate) fn seen_by(&self, selection: &Selection) -> Option<Delivery> {
        let stored = self.stored.as_ref().filter(|stored| selection.within.contains(&stored.path))?;
        let path = &stored.path;
        let old = self.old.as_ref().map(|(_, object)| object).filter(|object| selection.chooses(path, object));
        let new = self.after().is_some_and(|object| selection.chooses(path, object));
        match (old, new) {
            (None, true) => Some(Delivery::Added(stored.clone())),
            (Some(_), true) => Some(Delivery::Modified(stored.clone())),
            (Some(_), false) if self.deleted => Some(Delivery::Deleted(stored.clone())),
            (Some(old), false) => {
                let left = Stored { path: path.clone(), revision: self.revision, object: old.clone() };
                Some(Delivery::Deleted(Arc::new(left)))
            }
            (None, false) => None,
        }
    }

    /// The object after; none when it was deleted.
    pub(crate) fn after(&self) -> Option<&Encoded> {
        self.stored.as_ref().filter(|_| !self.deleted).map(|stored| &stored.object)
    }

    /// About how many bytes history alone keeps for it: the object before, and the event itself.
    fn weight(&self) -> usize {
        256 + self.old.as_ref().map_or(0, |(_, object)| object.weight())
    }
}

/// How much history is kept of each resource.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HistoryLimit {
    /// Events older than this are dropped.
    pub window: Duration,
    /// The oldest events are dropped until the rest weighs no more than this.
    pub bytes: usize,
}

/// The number of events in one shared piece of a log.
const CHUNK: u64 = 64;

/// The events of one resource, oldest first, each at a place that never changes. Cloning it shares it.
///
/// ```text
///   floor            base                          end
///   ──●──────────────[ ● ]──[ ● ]──[ ● ]── … ──[ ● ] (next)
///     last dropped      each event's `previous` is the revision of the one on its left
/// ```
#[derive(Debug, Clone, Default)]
pub(crate) struct EventLog {
    /// By the number of the chunk: `place / CHUNK`.
    chunks: OrdMap<u64, Arc<Chunk>>,
    base: u64,
    end: u64,
    floor: Revision,
    last: Revision,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Chunk {
    /// The place of the first of `events`.
    first: u64,
    events: Vec<Arc<Event>>,
}

impl EventLog {
    /// An empty log of a resource whose last event, not kept, was at a revision.
    pub(crate) fn after(last: Revision) -> Self {
        Self { floor: last, last, ..Self::default() }
    }

    /// The place of the oldest event that is kept.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The place that the next event will have.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The revision of the newest event that is not kept any more: a watch can go on from here, and not from before.
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// The revision of the newest event.
    pub(crate) fn last(&self) -> Revision {
        self.last
    }

    /// What the log weighs, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The event at a place, if it is kept.
    pub(crate) fn get(&self, place: u64) -> Option<&Arc<Event>> {
        if place < self.base || place >= self.end {
            return None;
        }
        let chunk = self.chunks.get(&(place / CHUNK))?;
        chunk.events.get(usize::try_from(place.checked_sub(chunk.first)?).ok()?)
    }

    /// The place of the first event after a revision.
    pub(crate) fn first_after(&self, revision: Revision) -> u64 {
        self.partition(|event| event.revision <= revision)
    }

    /// Adds an event, linked to the newest.
    pub(crate) fn push(&mut self, mut event: Event) {
        event.previous = self.last;
        self.last = event.revision;
        self.bytes += event.weight();
        let place = self.end;
        self.end += 1;
        let chunk =
            self.chunks.entry(place / CHUNK).or_insert_with(|| Arc::new(Chunk { first: place, events: vec![] }));
        Arc::make_mut(chunk).events.push(Arc::new(event));
    }

    /// Drops what is beyond the limit at a time. Says whether anything was.
    pub(crate) fn compact(&mut self, limit: HistoryLimit, now: Timestamp) -> bool {
        let mut keep_from = self.partition(|event| now.since(event.time) > limit.window);
        let mut bytes = self.bytes;
        let mut place = self.base;
        while place < self.end && (place < keep_from || bytes > limit.bytes) {
            let Some(event) = self.get(place) else { break };
            bytes -= event.weight();
            place += 1;
            keep_from = keep_from.max(place);
        }
        self.drop_before(keep_from, bytes)
    }

    /// Whether enough has piled up beyond the limit for a compaction to be worth its while.
    pub(crate) fn wants_compaction(&self, limit: HistoryLimit, now: Timestamp) -> bool {
        let much = limit.bytes.saturating_add(limit.bytes / 16);
        self.bytes > much
            || (self.end - self.base > CHUNK
                && self.get(self.base + CHUNK - 1).is_some_and(|event| now.since(event.time) > limit.window))
    }

    /// Drops everything, and goes on at a place.
    pub(crate) fn move_to(&mut self, place: u64) {
        let at = place.max(self.end);
        *self = Self { base: at, end: at, ..Self::after(self.last.max(self.floor)) };
    }

    /// Drops everything up to a revision, and lets nobody go on from before it.
    pub(crate) fn raise_floor(&mut self, revision: Revision) {
        let keep_from = self.first_after(revision);
        let dropped: usize = (self.base..keep_from).filter_map(|place| self.get(place)).map(|e| e.weight()).sum();
        self.drop_before(keep_from, self.bytes - dropped);
        self.floor = self.floor.max(revision);
    }

    fn drop_before(&mut self, keep_from: u64, bytes: usize) -> bool {
        if keep_from <= self.base {
            return false;
        }
        if let Some(dropped) = self.get(keep_from - 1) {
            self.floor = dropped.revision;
        }
        let first_chunk = if keep_from == self.end { u64::MAX } else { keep_from / CHUNK };
        while let Some(number) = self.chunks.get_min().map(|(number, _)| *number).filter(|n| *n < first_chunk) {
            self.chunks.remove(&number);
        }
        if let Some(chunk) = self.chunks.get_mut(&first_chunk) {
            let chunk = Arc::make_mut(chunk);
            let dropped = usize::try_from(keep_from - chunk.first).unwrap_or(0);
            chunk.events.drain(..dropped.min(chunk.events.len()));
            chunk.first = keep_from;
        }
        self.base = keep_from;
        self.bytes = bytes;
        true
    }

    /// The first place whose event does not have a property that all events before it have.
    fn partition(&self, has: impl Fn(&Event) -> bool) -> u64 {
        let (mut low, mut high) = (self.base, self.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(|event| has(event)) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: u64) -> EventLog {
        let mut log = EventLog::after(Revision(3));
        for number in 0..events {
            log.push(Event {
                revision: Revision(10 + number),
                previous: Revision::ZERO,
                time: Timestamp::from_micros(i64::try_from(number).expect("small") * 1_000_000),
                stored: None,
                deleted: true,
                old: None,
            });
        }
        log
    }

    #[test]
    fn places_outlive_the_compaction_of_what_was_before_them() {
        let limit = HistoryLimit { window: Duration::from_secs(50), bytes: usize::MAX };
        for events in [1, 63, 64, 65, 130, 300] {
            let mut log = log(events);
            let now = Timestamp::from_micros(i64::try_from(events - 1).expect("small") * 1_000_000);
            log.compact(limit, now);
            let kept = events.min(51);
            assert_eq!((log.base(), log.end()), (events - kept, events));
            assert_eq!(log.floor(), if kept == events { Revision(3) } else { Revision(10 + events - kept - 1) });
            let mut previous = log.floor();
            for place in log.base()..log.end() {
                let event = log.get(place).expect("kept");
                assert_eq!((event.previous, event.revision), (previous, Revision(10 + place)));
                previous = event.revision;
            }
            assert!(log.get(log.end()).is_none() && log.base().checked_sub(1).is_none_or(|p| log.get(p).is_none()));
            log.compact(limit, now.later(Duration::from_secs(60)));
            assert_eq!((log.base(), log.bytes(), log.floor()), (events, 0, log.last()));
        }
    }

    #[test]
    fn the_first_event_after_a_revision_is_found() {
        let log = log(100);
        for (revision, place) in [(0, 0), (9, 0), (10, 1), (60, 51), (109, 100), (500, 100)] {
            assert_eq!(log.first_after(Revision(revision)), place, "{revision}");
        }
    }

    #[test]
    fn history_is_bounded_by_bytes() {
        let mut log = log(100);
        let limit = HistoryLimit { window: Duration::MAX, bytes: 256 * 10 };
        assert!(log.wants_compaction(limit, Timestamp::default()));
        assert!(log.compact(limit, Timestamp::default()));
        assert_eq!((log.end() - log.base(), log.bytes()), (10, 2560));
        assert!(!log.compact(limit, Timestamp::default()));
    }
}
