//! How an informer takes in a complete state, and what is told of it when.

use super::*;

fn opened(bench: &Bench) -> (usize, (usize, usize)) {
    let watch_lists = bench.source.0.lock().watch_lists;
    (watch_lists, bench.source.calls())
}

#[test]
fn one_stream_is_enough_where_the_source_has_such() {
    let mut bench = Bench::streaming(Streams::Whole);
    bench.source.put("a", "u1", "n1");
    bench.settle();
    assert!(bench.informer.progress().synced && bench.informer.progress().current);
    assert_eq!(bench.informer.progress().revision, Revision(1));
    bench.source.put("b", "u2", "n1");
    bench.source.delete("a");
    bench.settle();
    assert_eq!(bench.told(), ["+a u1@1", "+b u2@2", "-a u1@1"]);
    assert_eq!(opened(&bench), (1, (0, 0)));
    bench.source.hang_up(Some(Status::internal("broken")));
    bench.source.put("c", "u3", "n1");
    bench.recover();
    assert_eq!(bench.told(), ["+c u3@4"]);
    assert_eq!(opened(&bench), (1, (0, 1)), "it goes on where it was");
}

#[test]
fn the_old_state_is_served_until_the_new_one_is_complete() {
    let mut bench = Bench::streaming(Streams::Whole);
    for name in ["changed", "gone", "replaced", "same"] {
        bench.source.put(name, name, "n1");
    }
    bench.settle();
    bench.told();
    bench.source.0.lock().streams = Streams::Endless;
    bench.source.hang_up(Some(Status::expired("list anew")));
    bench.source.put("changed", "changed", "n2");
    bench.source.delete("gone");
    bench.source.delete("replaced");
    bench.source.put("replaced", "another", "n1");
    bench.settle();
    bench.clock.advance(Duration::from_secs(1));
    bench.settle();
    // Changes that come before the end belong to the new state.
    bench.source.put("passing", "p", "n1");
    bench.source.delete("passing");
    bench.source.put("new", "new", "n1");
    bench.settle();
    assert_eq!(bench.told(), [""; 0], "nothing is known to be gone yet");
    assert_eq!(bench.on_node("n1"), ["changed", "gone", "replaced", "same"]);
    assert!(bench.informer.progress().synced && !bench.informer.progress().current);
    bench.source.end_initial();
    bench.settle();
    let told = ["~changed changed@1 changed@5", "+new new@11", "-replaced replaced@3", "+replaced another@8"];
    assert_eq!(bench.told(), [&told[..], &["-gone gone@2"]].concat());
    assert!(bench.informer.progress().current);
    assert_eq!(opened(&bench), (2, (0, 0)));
}

#[test]
fn a_stream_that_breaks_before_its_end_changes_nothing() {
    let mut bench = Bench::streaming(Streams::Whole);
    bench.source.put("a", "u1", "n1");
    bench.settle();
    bench.told();
    bench.source.0.lock().streams = Streams::Endless;
    bench.source.hang_up(Some(Status::expired("list anew")));
    bench.source.delete("a");
    for error in [None, Some(Status::internal("broken")), Some(Status::expired("at once"))] {
        bench.settle();
        bench.clock.advance(Duration::from_secs(25));
        bench.settle();
        bench.source.hang_up(error);
        bench.settle();
        assert_eq!((bench.told(), bench.informer.store().len()), (vec![], 1));
    }
    bench.source.0.lock().streams = Streams::Whole;
    bench.recover();
    assert_eq!(bench.told(), ["-a u1@1"]);
}

#[test]
fn a_source_that_does_not_say_where_its_initial_state_ends_is_listed() {
    let mut bench = Bench::streaming(Streams::Endless);
    bench.source.put("a", "u1", "n1");
    bench.settle();
    bench.clock.advance(Duration::from_secs(29));
    bench.settle();
    assert_eq!((bench.told(), opened(&bench)), (vec![], (1, (0, 0))));
    bench.clock.advance(Duration::from_secs(2));
    bench.settle();
    assert_eq!((bench.told(), opened(&bench)), (vec!["+a u1@1".to_owned()], (1, (1, 1))));
    assert!(bench.informer.progress().current);

    let mut bench = Bench::streaming(Streams::Endless);
    bench.source.put("a", "u1", "n1");
    bench.settle();
    bench.source.bookmark(); // one that knows of initial states sends none before the end
    bench.settle();
    assert_eq!((bench.told(), opened(&bench)), (vec!["+a u1@1".to_owned()], (1, (1, 1))));
}

#[test]
fn objects_are_found_by_tenant() {
    let bench = Bench::new();
    let store = bench.informer.store();
    let put = |path: ObjectPath, node: &str| {
        let object = crate::scripted::pod(path.name(), "u", node);
        let stored = Stored { path, revision: Revision(1), object };
        store.put(&stored, Arc::new(stored.clone()));
    };
    put(ObjectPath::new("", "", "region"), "n1");
    for tenant in ["acme", "acme-two", "acme0", "b"] {
        put(ObjectPath::new(tenant, "default", "x"), "n1");
        put(ObjectPath::new(tenant, "other", "y"), "n1");
        put(ObjectPath::new(tenant, "other", "z"), "n2");
    }
    let mut tenants: Vec<String> = store.view().tenants().map(str::to_owned).collect();
    tenants.sort_unstable();
    assert_eq!(tenants, ["", "acme", "acme-two", "acme0", "b"]);
    let acme = arktos_core::TenantName::new("acme").expect("a name");
    let paths = |found: Vec<Arc<Stored>>| found.iter().map(|it| it.path.to_string()).collect::<Vec<_>>();
    let tenant = Within::Tenant(acme.clone());
    assert_eq!(paths(store.within(&tenant)), ["acme/default/x", "acme/other/y", "acme/other/z"]);
    assert_eq!(paths(store.by_within("node", "n1", &tenant)), ["acme/default/x", "acme/other/y"]);
    let namespace = Within::Namespace(acme, "other".to_owned());
    assert_eq!(paths(store.by_within("node", "n1", &namespace)), ["acme/other/y"]);
    let object = Within::Object(ObjectPath::new("b", "other", "z"));
    assert_eq!(paths(store.by_within("node", "n2", &object)), ["b/other/z"]);
    assert_eq!(store.by("node", "n1").len(), 9);
}
