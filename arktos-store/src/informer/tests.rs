//! What an informer tells its handlers, whatever the source does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arktos_core::{Encoded, GroupResource, Object, Reason, Revision, Status, TypeMeta};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::json;

mod initial;
mod upkeep;

use super::*;
use crate::clock::{ManualClock, SeededRandom};
use crate::scripted::{Scripted, Streams};
use crate::select::{Delivery, Stored, Within};
use crate::step::settle;

/// An informer under test, with a record of what its handler was told.
struct Bench {
    source: Arc<Scripted>,
    clock: ManualClock,
    informer: Informer<Stored>,
    driver: Driver,
    told: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// Over a source that streams its initial state.
    fn streaming(streams: Streams) -> Self {
        let bench = Self::new();
        bench.source.0.lock().streams = streams;
        bench
    }

    fn with(set_up: impl FnOnce(Builder<Stored>) -> Builder<Stored>) -> Self {
        let (source, clock) = (Arc::new(Scripted::default()), ManualClock::new(Timestamp::from_micros(0)));
        let told = Arc::new(Mutex::new(Vec::new()));
        let record = told.clone();
        let query = Query::everywhere(GroupResource::core("pods"));
        let random = Arc::new(SeededRandom::new(1));
        let builder = Informer::builder(source.clone(), query, Arc::new(clock.clone()), random)
            .index("node", |_, pod: &Stored| pod.object.header().fields().map(Arc::<str>::from).collect())
            .handler(move |event| record.lock().push(line(event)));
        let (informer, driver) = set_up(builder).build();
        Self { source, clock, informer, driver, told }
    }

    fn settle(&mut self) {
        assert!(settle(self.driver.as_mut()).is_pending(), "the driver never ends");
    }

    /// Lets time pass until the informer has heard from the source again.
    fn recover(&mut self) {
        self.settle();
        for _ in 0..3 {
            self.clock.advance(Duration::from_secs(31));
            self.settle();
        }
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock())
    }

    fn on_node(&self, node: &str) -> Vec<String> {
        self.informer.store().by("node", node).iter().map(|pod| pod.path.name().to_owned()).collect()
    }
}

fn line(event: &Event<Stored>) -> String {
    let name = event.path().name();
    let place = |pod: &Stored| format!("{}@{}", pod.object.header().uid(), pod.revision);
    match event {
        Event::Added { new, .. } => format!("+{name} {}", place(new)),
        Event::Updated { old, new, .. } => format!("~{name} {} {}", place(old), place(new)),
        Event::Removed { old, .. } => format!("-{name} {}", place(old)),
    }
}

#[test]
fn a_list_then_changes_each_told_once() {
    let mut bench = Bench::new();
    bench.source.put("a", "u1", "n1");
    assert!(!bench.informer.progress().synced);
    bench.settle();
    assert!(bench.informer.progress().synced && bench.informer.progress().current);
    bench.source.put("b", "u2", "n1");
    bench.source.put("a", "u1", "n2");
    bench.source.delete("b");
    bench.settle();
    assert_eq!(bench.told(), ["+a u1@1", "+b u2@2", "~a u1@1 u1@3", "-b u2@2"]);
    assert_eq!((bench.on_node("n1"), bench.on_node("n2")), (vec![], vec!["a".to_owned()]));
    assert_eq!(bench.informer.progress().revision, Revision(4));
    assert_eq!(bench.source.calls(), (1, 1));
}

#[test]
fn a_broken_watch_is_resumed_where_it_was() {
    let mut bench = Bench::new();
    bench.source.put("a", "u1", "n1");
    bench.settle();
    bench.source.hang_up(Some(Status::internal("broken")));
    bench.source.put("a", "u1", "n2");
    bench.source.delete("a");
    bench.settle();
    assert!(!bench.informer.progress().current);
    bench.recover();
    assert_eq!(bench.told(), ["+a u1@1", "~a u1@1 u1@2", "-a u1@2"]);
    assert_eq!(bench.source.calls().0, 1, "resumed, not listed anew");
    assert!(!bench.informer.progress().current, "nobody has said that this is all");
    bench.source.bookmark();
    bench.settle();
    assert!(bench.informer.progress().current);
}

#[test]
fn a_new_list_tells_the_difference_and_no_more() {
    let mut bench = Bench::new();
    for name in ["changed", "gone", "replaced", "same"] {
        bench.source.put(name, name, "n1");
    }
    bench.settle();
    bench.told();
    bench.source.hang_up(None);
    bench.source.put("changed", "changed", "n2");
    bench.source.delete("gone");
    bench.source.delete("replaced");
    bench.source.put("replaced", "another", "n1");
    bench.source.put("new", "new", "n1");
    bench.source.compact();
    bench.recover();
    assert_eq!(
        bench.told(),
        ["~changed changed@1 changed@5", "+new new@9", "-replaced replaced@3", "+replaced another@8", "-gone gone@2"]
    );
    assert_eq!(bench.on_node("n1"), ["new", "replaced", "same"]);
    assert_eq!(bench.source.calls().0, 2);
}

#[test]
fn unreachable_is_not_gone() {
    let mut bench = Bench::new();
    bench.source.put("a", "u1", "n1");
    bench.settle();
    bench.told();
    let contact = bench.informer.progress().last_contact;
    bench.source.set_unreachable(true);
    bench.source.hang_up(Some(Status::expired("history is lost")));
    for _ in 0..100 {
        bench.recover();
    }
    assert_eq!(bench.told(), [""; 0]);
    assert_eq!(bench.informer.store().len(), 1);
    let progress = bench.informer.progress();
    assert!(progress.synced && !progress.current);
    assert_eq!(progress.last_contact, contact);
    assert!(!bench.informer.is_current(bench.clock.now(), Duration::MAX));
    bench.source.set_unreachable(false);
    bench.recover();
    assert!(bench.informer.is_current(bench.clock.now(), Duration::from_secs(120)));
}

#[test]
fn failures_are_tried_again_less_and_less_often() {
    let mut bench = Bench::new();
    bench.source.set_unreachable(true);
    bench.settle();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let wait = bench.clock.next_wake().expect("it waits").since(bench.clock.now());
        waits.push(wait);
        bench.clock.advance(wait);
        bench.settle();
    }
    assert_eq!(bench.source.calls().0, 13, "one attempt a wait");
    for (number, wait) in waits.iter().enumerate() {
        let longest = Duration::from_millis(100 << number).min(Duration::from_secs(30));
        assert!(*wait >= longest / 2 && *wait <= longest, "{number}: {wait:?}");
    }
}

#[test]
fn a_silent_source_is_asked_anew() {
    let mut bench = Bench::new();
    bench.settle();
    assert_eq!(bench.source.calls(), (1, 1));
    bench.clock.advance(Duration::from_secs(170));
    bench.source.bookmark();
    bench.settle();
    bench.clock.advance(Duration::from_secs(170));
    bench.settle();
    assert_eq!(bench.source.calls(), (1, 1), "it was heard of in between");
    bench.clock.advance(Duration::from_secs(11));
    bench.recover();
    assert_eq!(bench.source.calls(), (1, 2));
}

#[test]
fn a_full_queue_holds_the_informer_back_and_loses_nothing() {
    let (source, clock) = (Arc::new(Scripted::default()), ManualClock::new(Timestamp::from_micros(0)));
    let options = crate::queue::QueueOptions { capacity: 2, ..Default::default() };
    let queue = WorkQueue::with_options(Arc::new(clock.clone()), options);
    let query = Query::everywhere(GroupResource::core("pods"));
    let (informer, mut driver) =
        Informer::<Stored>::builder(source.clone(), query, Arc::new(clock), Arc::new(SeededRandom::new(1)))
            .feed(&queue, |event| vec![event.path().clone()])
            .build();
    for number in 0..5 {
        source.put(&format!("listed-{number}"), "u", "n");
    }
    let mut taken = Vec::new();
    for round in 0..12 {
        assert!(settle(driver.as_mut()).is_pending());
        assert!(queue.len() <= 2 && informer.store().len() <= taken.len() + 2);
        if let Poll::Ready(Some(key)) = settle(Box::pin(queue.get()).as_mut()) {
            taken.push(key.name().to_owned());
        }
        if round == 6 {
            source.put("watched", "u", "n");
        }
    }
    assert_eq!(taken, ["listed-0", "listed-1", "listed-2", "listed-3", "listed-4", "watched"]);
}

#[test]
fn a_late_handler_is_told_all() {
    let mut bench = Bench::new();
    bench.source.put("a", "u1", "n1");
    bench.settle();
    let late = Arc::new(Mutex::new(Vec::new()));
    let record = late.clone();
    bench.informer.handle(move |event| record.lock().push(line(event)));
    bench.settle();
    bench.source.put("b", "u2", "n1");
    bench.settle();
    assert_eq!(*late.lock(), ["+a u1@1", "+b u2@2"]);
}

#[test]
fn waiting_ends_when_the_driver_is_gone() {
    let mut bench = Bench::new();
    let revision = bench.source.put("a", "u1", "n1");
    let informer = bench.informer.clone();
    let mut waiting = Box::pin(informer.reached(revision.next()));
    bench.settle();
    assert!(settle(waiting.as_mut()).is_pending());
    assert_eq!(settle(Box::pin(informer.reached(revision)).as_mut()), Poll::Ready(Ok(())));
    drop(bench);
    assert_eq!(settle(waiting.as_mut()), Poll::Ready(Err(Stopped)));
}

#[test]
fn what_cannot_be_decoded_is_kept_as_it_was() {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        node_name: String,
    }
    #[derive(serde::Deserialize)]
    struct Pod {
        spec: Spec,
    }
    let (source, clock) = (Arc::new(Scripted::default()), ManualClock::new(Timestamp::from_micros(0)));
    let query = Query::everywhere(GroupResource::core("pods"));
    let (informer, mut driver) =
        Informer::<Parsed<Pod>>::new(source.clone(), query, Arc::new(clock.clone()), Arc::new(SeededRandom::new(1)));
    source.put("a", "u1", "n1");
    assert!(settle(driver.as_mut()).is_pending());
    {
        let mut state = source.0.lock();
        state.revision += 1;
        let type_meta = Arc::new(TypeMeta::new("", "v1", "Pod"));
        let odd = Object::from_value(json!({"metadata": {"name": "a", "uid": "u1"}, "spec": 7})).expect("an object");
        let object = Encoded::encode(&type_meta, &odd, &[]).expect("encodes");
        let path = ObjectPath::new("acme", "default", "a");
        let odd = Stored { path: path.clone(), revision: Revision(2), object };
        state.objects.insert(path, odd.clone());
        state.deliver(Delivery::Modified(odd.into()));
    }
    source.hang_up(Some(Status::expired("list anew")));
    assert!(settle(driver.as_mut()).is_pending());
    clock.advance(Duration::from_secs(1));
    assert!(settle(driver.as_mut()).is_pending());
    let kept = informer.store().get(&ObjectPath::new("acme", "default", "a")).expect("is still there");
    assert_eq!((kept.spec.node_name.as_str(), kept.source().revision()), ("n1", Revision(1)));
    assert!(informer.store().within(&Within::Everywhere).len() == 1 && source.calls().0 == 2);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Replace(u8, u8),
    Bookmark,
    HangUp(bool),
    Compact,
    Unreachable(bool),
    Settle,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..6u8, 0..3u8).prop_map(|(name, node)| Step::Put(name, node)),
        3 => (0..6u8).prop_map(Step::Delete),
        1 => (0..6u8, 0..3u8).prop_map(|(name, node)| Step::Replace(name, node)),
        1 => Just(Step::Bookmark),
        2 => any::<bool>().prop_map(Step::HangUp),
        1 => Just(Step::Compact),
        1 => any::<bool>().prop_map(Step::Unreachable),
        6 => Just(Step::Settle),
        2 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

/// What the handlers were told, replayed: panics on an event that cannot follow those before it.
fn replay(told: &[String]) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for line in told {
        let words: Vec<&str> = line[1..].split(' ').collect();
        match (&line[..1], words.as_slice()) {
            ("+", [name, new]) => assert_eq!(state.insert(name.to_string(), new.to_string()), None, "{line}"),
            ("~", [name, old, new]) => {
                assert_ne!(old, new, "nothing has changed: {line}");
                assert_eq!(state.insert(name.to_string(), new.to_string()).as_deref(), Some(*old), "{line}");
            }
            ("-", [name, old]) => assert_eq!(state.remove(*name).as_deref(), Some(*old), "{line}"),
            _ => panic!("{line}"),
        }
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn replayed_events_are_what_the_source_has(steps in steps(), streams in any::<bool>()) {
        let mut bench = Bench::streaming(if streams { Streams::Whole } else { Streams::Refused });
        let mut uid = 0;
        for step in steps {
            match step {
                Step::Put(name, node) => {
                    let name = format!("p{name}");
                    let path = ObjectPath::new("acme", "default", &name);
                    let same = bench.source.0.lock().objects.get(&path).map(|it| it.object.header().uid().to_string());
                    uid += 1;
                    bench.source.put(&name, &same.unwrap_or_else(|| format!("u{uid}")), &format!("n{node}"));
                }
                Step::Delete(name) => bench.source.delete(&format!("p{name}")),
                Step::Replace(name, node) => {
                    let name = format!("p{name}");
                    bench.source.delete(&name);
                    uid += 1;
                    bench.source.put(&name, &format!("u{uid}"), &format!("n{node}"));
                }
                Step::Bookmark => bench.source.bookmark(),
                Step::HangUp(fails) => bench.source.hang_up(fails.then(|| Status::internal("broken"))),
                Step::Compact => bench.source.compact(),
                Step::Unreachable(unreachable) => bench.source.set_unreachable(unreachable),
                Step::Settle => bench.settle(),
                Step::Wait => bench.clock.advance(Duration::from_secs(31)),
            }
        }
        bench.source.set_unreachable(false);
        bench.recover();
        let told = replay(&bench.told());
        let source: BTreeMap<String, String> = bench.source.0.lock().objects.values()
            .map(|it| (it.path.name().to_owned(), format!("{}@{}", it.object.header().uid(), it.revision)))
            .collect();
        prop_assert_eq!(&told, &source);
        let kept = bench.informer.store().list();
        prop_assert_eq!(kept.len(), source.len());
        for node in ["n0", "n1", "n2"] {
            let expected: Vec<String> = kept.iter()
                .filter(|it| it.object.header().field(0) == node)
                .map(|it| it.path.name().to_owned())
                .collect();
            prop_assert_eq!(bench.on_node(node), expected);
        }
    }
}
