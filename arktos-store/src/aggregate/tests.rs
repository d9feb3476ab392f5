//! One view over several partitions, whatever they do.

use std::collections::BTreeMap;
use std::time::Duration;

use arktos_core::{GroupResource, ObjectPath, Status};
use proptest::prelude::*;

use super::*;
use crate::clock::{ManualClock, SeededRandom};
use crate::engine::Cursor;
use crate::scripted::Scripted as Partition;
use crate::select::{Delivery, Selection, WatchError, Within};
use crate::step::settle;

const START: Timestamp = Timestamp::from_micros(1_000_000_000);

struct Bench {
    partitions: Vec<Arc<Partition>>,
    clock: ManualClock,
    aggregate: Aggregate,
    driver: BoxFuture<'static, ()>,
}

impl Bench {
    /// Two partitions. Pods on the node "hidden" are not shown; all others under their partition's name as the tenant,
    /// but those called "shared", which both show at one path.
    fn new() -> Self {
        Self::with(EngineConfig::default())
    }

    fn with(config: EngineConfig) -> Self {
        let partitions: Vec<Arc<Partition>> = (0..2).map(|_| Arc::default()).collect();
        let named =
            partitions.iter().enumerate().map(|(place, it)| (format!("tp{place}"), it.clone() as Arc<dyn Source>));
        let project: Project = Arc::new(|partition, stored| {
            let tenant = if stored.path.name() == "shared" { "shared" } else { partition };
            let path = ObjectPath::new(tenant, "default", stored.path.name());
            (stored.object.header().field(0) != "hidden").then(|| Stored { path, ..stored.clone() })
        });
        let clock = ManualClock::new(START);
        let (aggregate, driver) = Aggregate::new(
            named,
            &Query::everywhere(GroupResource::core("pods")),
            project,
            EngineConfig { history_window: Duration::from_secs(1 << 30), ..config },
            Arc::new(clock.clone()),
            Arc::new(SeededRandom::new(1)),
        );
        Self { partitions, clock, aggregate, driver }
    }

    fn settle(&mut self) {
        assert!(settle(self.driver.as_mut()).is_pending());
    }

    fn recover(&mut self) {
        self.settle();
        for _ in 0..3 {
            self.clock.advance(Duration::from_secs(31));
            self.settle();
        }
    }

    fn watch(&self) -> Cursor {
        let engine = self.aggregate.engine();
        engine.watch(everything(), engine.snapshot().revision()).expect("at the newest")
    }

    /// What is shown: uids by path.
    fn shown(&self) -> BTreeMap<String, String> {
        let snapshot = self.aggregate.engine().snapshot();
        let items = snapshot.range(&GroupResource::core("pods"), &Within::Everywhere, None);
        items.map(|it| (it.path.to_string(), it.object.header().uid().to_string())).collect()
    }
}

fn everything() -> Selection {
    Selection::all(GroupResource::core("pods"), Within::Everywhere)
}

fn told(cursor: &mut Cursor) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(delivery) = cursor.try_next().expect("not compacted") {
        let sign = match delivery {
            Delivery::Added(_) => '+',
            Delivery::Modified(_) => '~',
            Delivery::Deleted(_) => '-',
            Delivery::Bookmark(_) => continue,
        };
        let stored = delivery.stored().expect("an object");
        told.push(format!("{sign}{} {}", stored.path, stored.object.header().uid()));
    }
    told
}

#[test]
fn partitions_are_shown_as_one() {
    let mut bench = Bench::new();
    bench.partitions[0].put("a", "u1", "n");
    bench.partitions[1].put("a", "u2", "n");
    bench.partitions[1].put("b", "u3", "hidden");
    let synced = bench.aggregate.clone();
    let mut synced = Box::pin(synced.synced());
    assert!(settle(synced.as_mut()).is_pending());
    bench.settle();
    assert!(settle(synced.as_mut()).is_ready());
    let mut cursor = bench.watch();
    assert_eq!(
        bench.shown().into_iter().collect::<Vec<_>>(),
        [("tp0/default/a".to_owned(), "u1".to_owned()), ("tp1/default/a".to_owned(), "u2".to_owned())]
    );
    bench.partitions[1].put("b", "u3", "n");
    bench.partitions[0].delete("a");
    bench.partitions[1].put("b", "u3", "hidden");
    bench.settle();
    let mut told = told(&mut cursor);
    told.sort();
    assert_eq!(told, ["+tp1/default/b u3", "-tp0/default/a u1", "-tp1/default/b u3"]);
}

#[test]
fn a_partition_that_does_not_answer_keeps_its_objects_and_a_new_list_tells_only_the_difference() {
    let mut bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.partitions[0].put(name, name, "n");
    }
    bench.settle();
    let mut cursor = bench.watch();
    bench.partitions[0].set_unreachable(true);
    bench.partitions[0].hang_up(Some(Status::expired("history is lost")));
    bench.partitions[0].compact();
    bench.recover();
    assert_eq!(bench.shown().len(), 3);
    let current: Vec<bool> = bench.aggregate.progress().iter().map(|(_, progress)| progress.current).collect();
    assert_eq!(current, [false, true]);
    bench.partitions[0].delete("b");
    bench.partitions[0].put("c", "c", "m");
    bench.partitions[0].set_unreachable(false);
    bench.recover();
    assert_eq!(told(&mut cursor), ["~tp0/default/c c", "-tp0/default/b b"]);
}

#[test]
fn one_that_is_made_anew_says_410_to_who_stands_at_an_older_ones_revision() {
    let mut first = Bench::new();
    first.partitions[0].put("a", "u1", "n");
    first.settle();
    let seen = first.aggregate.engine().snapshot().revision();
    assert!(seen > epoch(START));
    let (second, _driver) = anew(&first, START.later(Duration::from_secs(1)));
    assert!(second.engine().snapshot().revision() > seen);
    assert!(matches!(second.engine().watch(everything(), seen), Err(WatchError::Compacted { .. })));
}

#[test]
fn one_whose_clock_was_set_back_says_410_to_who_stands_at_an_older_ones_revision() {
    let mut first = Bench::new();
    first.partitions[0].put("a", "u1", "n");
    first.settle();
    let seen = first.aggregate.engine().snapshot().revision();
    let (second, mut driver) = anew(&first, Timestamp::from_micros(1_000_000));
    for number in 0..100 {
        first.partitions[0].put(&format!("b{number}"), "u", "n");
        assert!(settle(driver.as_mut()).is_pending());
    }
    let newest = second.engine().snapshot().revision();
    assert!(newest < seen, "it knows of no other time");
    assert!(matches!(second.engine().watch(everything(), seen), Err(WatchError::Compacted { .. })));
    assert!(second.engine().exactly_at(seen).is_err());
    // Who lists anew goes on from there.
    let mut cursor = second.engine().watch(everything(), newest).expect("at the newest");
    first.partitions[0].put("c", "u2", "n");
    assert!(settle(driver.as_mut()).is_pending());
    assert_eq!(told(&mut cursor), ["+acme/default/c u2"]);
}

/// Another one of the first partition of a bench, that begins at a time.
fn anew(bench: &Bench, now: Timestamp) -> (Aggregate, BoxFuture<'static, ()>) {
    let partitions = vec![("tp0".to_owned(), bench.partitions[0].clone() as Arc<dyn Source>)];
    let (aggregate, mut driver) = Aggregate::new(
        partitions,
        &Query::everywhere(GroupResource::core("pods")),
        Arc::new(|_, stored| Some(stored.clone())),
        EngineConfig::default(),
        Arc::new(ManualClock::new(now)),
        Arc::new(SeededRandom::new(1)),
    );
    assert!(settle(driver.as_mut()).is_pending());
    (aggregate, driver)
}

#[test]
fn a_path_that_two_partitions_show_belongs_to_the_first_until_it_lets_go() {
    let mut bench = Bench::new();
    bench.partitions[0].put("shared", "from 0", "n");
    bench.settle();
    bench.partitions[1].put("shared", "from 1", "n");
    bench.settle();
    let path = "shared/default/shared".to_owned();
    assert_eq!(bench.shown().get(&path).map(String::as_str), Some("from 0"));
    let mut cursor = bench.watch();
    bench.partitions[0].delete("shared");
    bench.settle();
    assert_eq!(told(&mut cursor), ["-shared/default/shared from 0", "+shared/default/shared from 1"]);
    bench.partitions[1].delete("shared");
    bench.settle();
    assert_eq!(bench.shown(), BTreeMap::new());
}

#[test]
fn more_than_fits_the_mailbox_arrives_all_the_same() {
    let mut bench = Bench::new();
    for number in 0..3000 {
        bench.partitions[number % 2].put(&format!("p{number}"), "u", "n");
    }
    bench.settle();
    assert_eq!(bench.shown().len(), 3000);
}

#[test]
fn large_objects_come_in_batches_that_fit_and_one_that_fits_nowhere_holds_up_nobody() {
    let mut bench = Bench::with(EngineConfig { commit_bytes: 2000, ..EngineConfig::default() });
    for number in 0..300 {
        bench.partitions[number % 2].put(&format!("p{number}"), "u", &"n".repeat(number % 9 * 100));
    }
    bench.partitions[0].put("q-too-large", "u", &"n".repeat(3000));
    bench.settle();
    assert_eq!(bench.shown().len(), 300);
    bench.partitions[0].put("later", "u", "n");
    bench.partitions[0].put("q-too-large", "u", "n");
    bench.settle();
    assert_eq!(bench.shown().len(), 302);
    bench.partitions[0].put("q-too-large", "u", &"n".repeat(3000));
    bench.settle();
    assert_eq!(bench.shown().len(), 301, "what it was before is not shown any more");
}

#[test]
fn waiting_ends_when_the_driver_is_gone() {
    let bench = Bench::new();
    let aggregate = bench.aggregate.clone();
    drop(bench);
    assert!(matches!(settle(Box::pin(aggregate.synced()).as_mut()), std::task::Poll::Ready(Err(Stopped))));
}

#[test]
fn one_that_joins_is_waited_for_and_what_one_that_leaves_has_shown_goes() {
    let mut bench = Bench::new();
    let third = Arc::new(Partition::default());
    for (at, partition) in [&bench.partitions[0], &bench.partitions[1], &third].into_iter().enumerate() {
        partition.put("a", &format!("a{at}"), "n");
        partition.put("shared", &format!("s{at}"), "n");
    }
    bench.settle();
    let mut cursor = bench.watch();
    third.set_unreachable(true);
    bench.aggregate.join("tp2", third.clone());
    let waiting = bench.aggregate.clone();
    let mut waiting = Box::pin(waiting.synced());
    bench.settle();
    assert!(settle(waiting.as_mut()).is_pending(), "without the third it would not be complete");
    third.set_unreachable(false);
    bench.recover();
    assert!(settle(waiting.as_mut()).is_ready());
    assert_eq!(told(&mut cursor), ["+tp2/default/a a2"]);

    bench.aggregate.leave("tp0");
    bench.aggregate.leave("nobody");
    bench.settle();
    let mut gone = told(&mut cursor);
    gone.sort();
    assert_eq!(gone, ["+shared/default/shared s1", "-shared/default/shared s0", "-tp0/default/a a0"]);
    bench.partitions[0].put("b", "b0", "n");
    bench.recover();
    assert_eq!(told(&mut cursor), Vec::<String>::new(), "nobody listens to who has left");
    bench.aggregate.join("tp0", bench.partitions[0].clone());
    bench.settle();
    assert_eq!(told(&mut cursor), ["+tp0/default/a a0", "+tp0/default/b b0"]);
}

#[test]
fn one_that_leaves_before_it_was_ever_heard_holds_up_nobody() {
    let mut bench = Bench::new();
    bench.partitions[0].put("a", "u1", "n");
    bench.partitions[1].set_unreachable(true);
    bench.settle();
    let waiting = bench.aggregate.clone();
    let mut waiting = Box::pin(waiting.synced());
    assert!(settle(waiting.as_mut()).is_pending());
    bench.aggregate.leave("tp1");
    bench.settle();
    assert!(settle(waiting.as_mut()).is_ready());
    assert_eq!(bench.aggregate.progress().len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8, bool),
    Delete(usize, u8),
    HangUp(usize),
    Compact(usize),
    Join(usize),
    Leave(usize),
    Outage(usize),
    Return(usize),
    Settle,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2usize, 0..4u8, prop::bool::weighted(0.8)).prop_map(|(at, name, shown)| Step::Put(at, name, shown)),
        3 => (0..2usize, 0..4u8).prop_map(|(at, name)| Step::Delete(at, name)),
        1 => (0..2usize).prop_map(Step::HangUp),
        1 => (0..2usize).prop_map(Step::Compact),
        1 => (0..2usize).prop_map(Step::Join),
        1 => (0..2usize).prop_map(Step::Leave),
        1 => (0..2usize).prop_map(Step::Outage),
        1 => (0..2usize).prop_map(Step::Return),
        4 => Just(Step::Settle),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_shown_is_what_the_partitions_have(steps in steps()) {
        let mut bench = Bench::new();
        let mut cursor = bench.watch();
        let mut uid = 0;
        let mut joined = [true; 2];
        // what each partition had shown when it stopped answering
        let mut kept: [Option<Vec<String>>; 2] = [None, None];
        let name = |number: u8| if number == 0 { "shared".to_owned() } else { format!("p{number}") };
        for step in steps {
            match step {
                Step::Put(at, number, shown) => {
                    let path = ObjectPath::new("acme", "default", &name(number));
                    let partition = &bench.partitions[at];
                    let same = partition.0.lock().objects.get(&path).map(|it| it.object.header().uid().to_string());
                    uid += 1;
                    let uid = same.unwrap_or_else(|| format!("u{uid}"));
                    partition.put(&name(number), &uid, if shown { "n" } else { "hidden" });
                }
                Step::Delete(at, number) => bench.partitions[at].delete(&name(number)),
                Step::HangUp(at) => bench.partitions[at].hang_up(None),
                Step::Compact(at) => bench.partitions[at].compact(),
                Step::Join(at) => {
                    bench.aggregate.join(&format!("tp{at}"), bench.partitions[at].clone());
                    joined[at] = true;
                }
                Step::Leave(at) => {
                    bench.aggregate.leave(&format!("tp{at}"));
                    (joined[at], kept[at]) = (false, None);
                }
                Step::Outage(at) => {
                    bench.settle();
                    bench.partitions[at].set_unreachable(true);
                    bench.partitions[at].hang_up(None);
                    let own = format!("tp{at}/");
                    kept[at] = Some(bench.shown().into_keys().filter(|path| path.starts_with(&own)).collect());
                }
                Step::Return(at) => {
                    bench.partitions[at].set_unreachable(false);
                    kept[at] = None;
                }
                Step::Settle => bench.settle(),
                Step::Wait => bench.clock.advance(Duration::from_secs(31)),
            }
            let shown = bench.shown();
            for path in kept.iter().flatten().flatten() {
                prop_assert!(shown.contains_key(path), "{} went although its partition only did not answer", path);
            }
        }
        bench.partitions.iter().for_each(|partition| partition.set_unreachable(false));
        bench.recover();
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (at, partition) in bench.partitions.iter().enumerate().filter(|(at, _)| joined[*at]) {
            for it in partition.0.lock().objects.values().filter(|it| it.object.header().field(0) != "hidden") {
                let tenant = if it.path.name() == "shared" { "shared".to_owned() } else { format!("tp{at}") };
                let path = format!("{tenant}/default/{}", it.path.name());
                expected.entry(path).or_default().push(it.object.header().uid().to_string());
            }
        }
        let shown = bench.shown();
        prop_assert_eq!(shown.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (path, uid) in &shown {
            prop_assert!(expected[path].contains(uid), "{} {}", path, uid);
        }
        let mut replayed = BTreeMap::new();
        for line in told(&mut cursor) {
            let (path, uid) = line[1..].rsplit_once(' ').expect("two words");
            match &line[..1] {
                "+" => prop_assert_eq!(replayed.insert(path.to_owned(), uid.to_owned()), None),
                "~" => prop_assert_eq!(replayed.insert(path.to_owned(), uid.to_owned()), Some(uid.to_owned())),
                _ => prop_assert_eq!(replayed.remove(path), Some(uid.to_owned())),
            }
        }
        prop_assert_eq!(replayed, shown);
    }
}
