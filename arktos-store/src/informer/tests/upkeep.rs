//! What an informer does as time goes by: it tells everything again, and does not wear its source out.

use super::*;

#[test]
fn everything_is_told_again_as_often_as_the_owner_wants() {
    let mut bench = Bench::with(|builder| builder.resync(Duration::from_secs(60)));
    bench.source.put("a", "u1", "n1");
    bench.source.put("b", "u2", "n1");
    bench.settle();
    assert_eq!(bench.told(), ["+a u1@1", "+b u2@2"]);
    bench.clock.advance(Duration::from_secs(59));
    bench.settle();
    assert_eq!(bench.told(), [""; 0]);
    bench.clock.advance(Duration::from_secs(1));
    bench.settle();
    assert_eq!(bench.told(), ["~a u1@1 u1@1", "~b u2@2 u2@2"]);
    bench.source.delete("b");
    bench.settle();
    bench.source.hang_up(Some(Status::internal("broken")));
    bench.settle();
    bench.clock.advance(Duration::from_secs(60));
    bench.settle();
    assert_eq!(bench.told(), ["-b u2@2", "~a u1@1 u1@1"], "a watch that is opened anew does not begin to count anew");
}

#[test]
fn nothing_is_told_again_where_nobody_wants_it() {
    let mut bench = Bench::new();
    bench.source.put("a", "u1", "n1");
    bench.settle();
    for _ in 0..100 {
        bench.source.bookmark();
        bench.clock.advance(Duration::from_secs(100));
        bench.settle();
    }
    assert_eq!(bench.told(), ["+a u1@1"]);
}

#[test]
fn telling_everything_again_waits_for_the_gates() {
    let clock = ManualClock::new(Timestamp::from_micros(0));
    let options = crate::queue::QueueOptions { capacity: 2, ..Default::default() };
    let queue = WorkQueue::with_options(Arc::new(clock), options);
    let feed = queue.clone();
    let mut bench =
        Bench::with(|builder| builder.resync(Duration::from_secs(60)).feed(&feed, |event| vec![event.path().clone()]));
    for name in ["a", "b", "c", "d"] {
        bench.source.put(name, name, "n1");
    }
    let mut taken = Vec::new();
    for round in 0..12 {
        bench.settle();
        assert!(queue.len() <= 2);
        if let Poll::Ready(Some(key)) = settle(Box::pin(queue.get()).as_mut()) {
            taken.push(key.name().to_owned());
        }
        if round == 5 {
            bench.clock.advance(Duration::from_secs(60));
        }
    }
    assert_eq!(taken, ["a", "b", "c", "d", "a", "b", "c", "d"]);
}

#[test]
fn a_source_that_hangs_up_at_once_is_not_worn_out() {
    let mut bench = Bench::new();
    bench.settle();
    for _ in 0..1000 {
        bench.source.put("busy", "u", "n1");
        bench.settle();
        bench.source.hang_up(None);
        bench.settle();
        bench.clock.advance(Duration::from_millis(10));
    }
    let (lists, watches) = bench.source.calls();
    assert!(lists == 1 && watches <= 201, "in ten seconds: {watches}, though each brought something");
    let mut bench = Bench::new();
    bench.settle();
    for _ in 0..10_000 {
        bench.source.hang_up(None);
        bench.settle();
        bench.clock.advance(Duration::from_millis(10));
    }
    let (_, watches) = bench.source.calls();
    assert!(watches <= 20, "in a hundred seconds, for nothing: {watches}");
}

#[test]
fn a_source_is_not_asked_before_it_wants_to_be() {
    let mut bench = Bench::new();
    bench.settle();
    bench.source.hang_up(Some(Status::failure(Reason::TooManyRequests, "slow down").retry_after(20)));
    bench.settle();
    bench.clock.advance(Duration::from_secs(20));
    bench.settle();
    assert_eq!(bench.source.calls().1, 1, "and not when everybody else comes back, either");
    bench.clock.advance(Duration::from_millis(100));
    bench.settle();
    assert_eq!(bench.source.calls().1, 2);
    bench.source.hang_up(Some(Status::failure(Reason::TooManyRequests, "for ever").retry_after(u32::MAX)));
    bench.settle();
    bench.clock.advance(Duration::from_secs(301));
    bench.settle();
    assert_eq!(bench.source.calls().1, 3, "a wait has its limit");
}

#[test]
fn bookmarks_carry_the_place_forward() {
    let mut bench = Bench::new();
    bench.source.put("a", "u1", "n1");
    bench.settle();
    bench.source.0.lock().revision = 1000; // others write; none of it concerns this watch
    bench.source.bookmark();
    bench.settle();
    assert_eq!(bench.informer.progress().revision, Revision(1000));
    bench.source.compact();
    bench.source.hang_up(None);
    bench.source.put("b", "u2", "n1");
    bench.recover();
    assert_eq!(bench.told(), ["+a u1@1", "+b u2@1001"]);
    assert_eq!(bench.source.calls(), (1, 2), "history from the bookmark on was enough");
}

/// A source restored to a state before what it had told already.
fn went_back(bench: &Bench) {
    let mut state = bench.source.0.lock();
    state.objects.remove(&ObjectPath::new("acme", "default", "b"));
    state.history.truncate(1);
    state.revision = 1;
}

#[test]
fn a_source_that_went_back_in_time_is_listed_anew() {
    let mut bench = Bench::new();
    bench.source.put("a", "u1", "n1");
    bench.source.put("b", "u2", "n1");
    bench.settle();
    bench.told();
    went_back(&bench);
    let mut unknown = Status::failure(Reason::Timeout, "Too large resource version: 2, current: 1");
    let cause = arktos_core::StatusCause { reason: "ResourceVersionTooLarge".to_owned(), ..Default::default() };
    unknown.details.get_or_insert_default().causes.push(cause);
    bench.source.hang_up(Some(unknown));
    bench.recover();
    assert_eq!(bench.told(), ["-b u2@2"]);
    assert_eq!(bench.informer.progress().revision, Revision(1));
}

#[test]
fn a_source_that_never_comes_to_the_revision_is_listed_anew_in_the_end() {
    let mut bench = Bench::new();
    bench.source.put("a", "u1", "n1");
    bench.source.put("b", "u2", "n1");
    bench.settle();
    bench.told();
    went_back(&bench);
    bench.clock.advance(Duration::from_secs(181));
    bench.settle();
    bench.clock.advance(Duration::from_secs(1));
    bench.settle();
    assert_eq!(bench.source.calls(), (1, 2), "one silence is no reason");
    bench.clock.advance(Duration::from_secs(181));
    bench.recover();
    assert_eq!((bench.source.calls().0, bench.told()), (2, vec!["-b u2@2".to_owned()]));
}
