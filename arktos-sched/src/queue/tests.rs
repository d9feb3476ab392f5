use super::*;

fn path(tenant: &str, name: &str) -> ObjectPath {
    ObjectPath::new(tenant, "default", name)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn names(queue: &mut Queue, now: Timestamp, count: usize) -> Vec<String> {
    (0..count).map_while(|_| queue.pop(now)).map(|(path, _)| path.name().to_owned()).collect()
}

#[test]
fn one_tenants_many_pods_do_not_delay_anothers_single_one() {
    let mut queue = Queue::default();
    for pod in 0..1000 {
        queue.add(path("many", &format!("m{pod}")), 0, 0);
    }
    assert_eq!(names(&mut queue, at(0), 10).len(), 10);
    queue.add(path("few", "f"), 0, 0);
    assert!(names(&mut queue, at(0), 2).contains(&"f".to_owned()));
}

#[test]
fn shares_follow_weights() {
    let mut queue = Queue::default();
    queue.set_weight("heavy", 3);
    for pod in 0..100 {
        queue.add(path("heavy", &format!("h{pod}")), 0, 0);
        queue.add(path("light", &format!("l{pod}")), 0, 0);
    }
    let popped = names(&mut queue, at(0), 80);
    let heavy = popped.iter().filter(|name| name.starts_with('h')).count();
    assert!((59..=61).contains(&heavy), "{heavy}");
}

#[test]
fn tenants_take_turns_by_what_their_pods_cost() {
    let mut queue = Queue::default();
    queue.set_weight("heavy", 2);
    queue.add(path("debtor", "d"), 0, 0);
    assert_eq!(names(&mut queue, at(0), 1), ["d"]);
    queue.charge(32 * 1000);
    queue.remove(&path("debtor", "d"));
    queue.add(path("debtor", "another"), 0, 0);
    for pod in 0..500 {
        for tenant in ["dear", "cheap", "heavy"] {
            queue.add(path(tenant, &format!("{tenant}-{pod}")), 0, 0);
        }
    }
    let mut popped = [0; 3];
    for _ in 0..400 {
        let (pod, _) = queue.pop(at(0)).expect("there are more");
        let (at, looks) = match pod.tenant() {
            "dear" => (0, 9 * 32),
            "cheap" => (1, 0),
            "heavy" => (2, 32),
            other => panic!("{other} is in debt, also for pods that have gone"),
        };
        popped[at] += 1;
        queue.charge(looks);
    }
    let [dear, cheap, heavy] = popped;
    assert!((18..=20).contains(&dear), "one costs as much as ten: {popped:?}");
    assert!((188..=192).contains(&cheap) && (188..=192).contains(&heavy), "{popped:?}");
}

#[test]
fn within_a_tenant_priority_goes_first_then_age() {
    let mut queue = Queue::default();
    for (name, priority) in [("a", 0), ("b", 0), ("c", 10)] {
        queue.add(path("t", name), priority, 0);
    }
    assert_eq!(names(&mut queue, at(0), 3), ["c", "a", "b"]);
}

#[test]
fn a_pod_that_fails_waits_longer_each_time_up_to_a_limit() {
    let mut queue = Queue::default();
    queue.add(path("t", "a"), 0, 0);
    let mut now = at(0);
    for wait in [1, 2, 4, 8, 10, 10] {
        let (path, _) = queue.pop(now).expect("it is due");
        queue.retry(&path, now);
        assert_eq!(queue.next_due(), Some(now.later(Duration::from_secs(wait))));
        assert_eq!(queue.pop(now.later(Duration::from_millis(wait * 1000 - 1))), None);
        now = now.later(Duration::from_secs(wait));
    }
}

#[test]
fn parked_pods_come_back_when_their_class_is_woken_as_many_as_there_is_room_for() {
    let mut queue = Queue::default();
    for name in ["a", "b", "c"] {
        queue.add(path("t", name), 0, 7);
        let (path, class) = queue.pop(at(0)).expect("active");
        assert_eq!(class, 7);
        queue.park(&path, at(0));
    }
    queue.wake(8, 10, at(60), |_| true);
    assert_eq!(queue.pop(at(60)), None, "another class's room is not theirs");
    queue.wake(7, 2, at(60), |_| true);
    assert_eq!(names(&mut queue, at(60), 3), ["a", "b"]);
    assert_eq!(queue.counts(), (0, 0, 1));
    assert_eq!(names(&mut queue, at(300), 1), ["c"], "parked pods are tried again after five minutes");
}

#[test]
fn those_that_may_not_use_the_room_take_it_from_nobody() {
    let mut queue = Queue::default();
    for name in ["picky-1", "a", "picky-2", "b", "picky-3", "c"] {
        queue.add(path("t", name), 0, 7);
        let (path, _) = queue.pop(at(0)).expect("active");
        queue.park(&path, at(0));
    }
    queue.wake(7, 2, at(60), |path| !path.name().starts_with("picky"));
    assert_eq!(names(&mut queue, at(60), 6), ["picky-1", "a", "picky-2", "b"]);
}

#[test]
fn waking_does_not_shorten_a_wait() {
    let mut queue = Queue::default();
    queue.add(path("t", "a"), 0, 7);
    queue.pop(at(0)).expect("active");
    queue.park(&path("t", "a"), at(0));
    queue.wake(7, 1, at(0), |_| true);
    assert_eq!(queue.pop(at(0)), None);
    assert_eq!(names(&mut queue, at(1), 1), ["a"]);
}

#[test]
fn what_is_removed_is_nowhere() {
    let mut queue = Queue::default();
    for (name, state) in [("active", 0), ("parked", 1), ("waiting", 2)] {
        queue.add(path("t", name), 0, 7);
        if state > 0 {
            queue.pop(at(0)).expect("active");
        }
        match state {
            1 => queue.park(&path("t", name), at(0)),
            2 => queue.retry(&path("t", name), at(0)),
            _ => assert!(queue.remove(&path("t", name))),
        }
    }
    assert!(queue.remove(&path("t", "parked")) && queue.remove(&path("t", "waiting")));
    assert!(!queue.remove(&path("t", "waiting")));
    queue.wake(7, 10, at(1000), |_| true);
    assert_eq!((queue.pop(at(1000)), queue.next_due(), queue.counts()), (None, None, (0, 0, 0)));
    queue.park(&path("t", "parked"), at(1000));
    assert_eq!(queue.counts(), (0, 0, 0), "what is gone cannot be parked");
}
