//! One server: what can happen to a store that is elsewhere.

use std::time::Duration;

use arktos_core::GroupResource;
use arktos_store::commit::{Commit, CommitError, Expect};
use arktos_store::etcd::EtcdOptions;
use arktos_store::storage::OpenError;
use arktos_store::{Delivery, WatchError, Within};

use crate::etcd_server::EtcdServer;
use crate::etcd_server::engines::{key, open, pods, put};

#[tokio::test]
async fn a_server_that_dies_and_comes_back_costs_no_event() {
    let Some(mut server) = EtcdServer::start() else { return };
    let mut options = EtcdOptions::new([server.url()]);
    options.request_timeout = Duration::from_secs(2);
    let (engine, feed) = open(&options).await.expect("opens");
    let feed = tokio::spawn(feed);
    let start = engine.snapshot().revision();
    let mut cursor = engine.watch(pods(), start).expect("a cursor");
    engine.commit(put("before", Expect::Absent, 1)).await.expect("is there");
    server.kill();
    tokio::time::sleep(Duration::from_secs(1)).await; // until the connection is known to be broken
    let lost = engine.commit(put("meanwhile", Expect::Absent, 1)).await;
    assert!(matches!(lost, Err(CommitError::Unavailable(_))), "there is nobody to ask, and that is certain: {lost:?}");
    assert!(matches!(engine.latest().await.err(), Some(WatchError::Unreachable(_))));
    assert!(engine.snapshot().get(&key("before")).is_some(), "what is known can still be read");
    server.restart();
    while engine.commit(put("after", Expect::Anything, 1)).await.is_err() {}
    let mut told = Vec::new();
    while told.last().is_none_or(|name| name != "after") {
        let delivery = cursor.next().await.expect("goes on");
        assert!(matches!(delivery, Delivery::Added(_)), "{delivery:?}");
        told.push(delivery.stored().expect("an object").path.name().to_owned());
    }
    assert_eq!(told, ["before", "after"]);
    engine.close().await;
    feed.await.expect("ends when the engine is closed");
}

/// Kubernetes #107457, #118501, etcd #16028: after a restore the revisions of etcd were lower than what watch caches
/// had, which then waited for, and served, what was no longer so.
#[tokio::test]
async fn an_etcd_that_was_put_back_is_noticed_and_nothing_is_confirmed_on_it() {
    let Some(mut server) = EtcdServer::start() else { return };
    let mut options = EtcdOptions::new([server.url()]);
    options.request_timeout = Duration::from_secs(2);
    let (engine, feed) = open(&options).await.expect("opens");
    let feed = tokio::spawn(feed);
    for round in 0..20 {
        engine.commit(put("pod", Expect::Anything, round)).await.expect("is there");
    }
    let known = engine.snapshot().revision();
    server.put_back();
    let refused = loop {
        match engine.commit(put("new", Expect::Absent, 1)).await {
            Err(CommitError::Unavailable(why) | CommitError::Unknown(why)) if why.contains("gone back") => break why,
            Err(CommitError::Unavailable(_) | CommitError::Unknown(_)) => {} // it is not there yet
            other => panic!("{other:?}"),
        }
    };
    assert!(refused.contains("start every process of this store anew"), "{refused}");
    // for good, and reads that must be current as well; what is known can still be read
    let again = engine.commit(put("other", Expect::Absent, 1)).await;
    assert!(matches!(again, Err(CommitError::Unavailable(_))), "nothing is sent: {again:?}");
    let mut client = etcd_client::Client::connect([server.url()], None).await.expect("connects");
    let all = etcd_client::GetOptions::new().with_prefix().with_keys_only();
    let found = client.get("/", Some(all)).await.expect("reads");
    assert!(found.kvs().iter().all(|entry| !String::from_utf8_lossy(entry.key()).contains("other")));
    assert!(matches!(engine.latest().await.err(), Some(WatchError::Unreachable(_))));
    assert_eq!(engine.snapshot().revision(), known);
    engine.close().await;
    feed.await.expect("ends when the engine is closed");
}

/// Kubernetes #59848: whoever asked one API server after another saw the past come back.
#[tokio::test]
async fn a_reader_that_goes_from_one_engine_to_another_never_goes_back() {
    let Some(server) = EtcdServer::start() else { return };
    let options = EtcdOptions::new([server.url()]);
    let (one, feed_one) = open(&options).await.expect("opens");
    let (two, feed_two) = open(&options).await.expect("opens");
    let (_one, _two) = (tokio::spawn(feed_one), tokio::spawn(feed_two));
    let mut seen = one.snapshot().revision();
    for round in 0..40_usize {
        let (writer, reader) = if round.is_multiple_of(2) { (&one, &two) } else { (&two, &one) };
        let written = writer.commit(put("pod", Expect::Anything, round)).await.expect("is there").revision;
        seen = seen.max(written);
        let read = reader.not_older_than(seen).await.expect("comes");
        let found = read.get(&key("pod")).expect("is there").revision;
        assert!(read.revision() >= seen && found >= written, "round {round}: {found} after {written}");
        seen = read.revision();
    }
}

#[tokio::test]
async fn who_slept_through_a_compaction_begins_anew_and_says_so() {
    let Some(server) = EtcdServer::start() else { return };
    let options = EtcdOptions::new([server.url()]);
    let (sleeper, its_feed) = open(&options).await.expect("opens");
    let (engine, feed) = open(&options).await.expect("opens");
    let feed = tokio::spawn(feed);
    let mut cursor = sleeper.watch(pods(), sleeper.snapshot().revision()).expect("a cursor");
    for round in 0..5 {
        engine.commit(put(&format!("pod-{}", round % 2), Expect::Anything, round)).await.expect("is there");
    }
    let mut client = etcd_client::Client::connect([server.url()], None).await.expect("connects");
    let newest = client.get("x", None).await.expect("reads").header().expect("has a header").revision();
    client.compact(newest, None).await.expect("compacts");
    let its_feed = tokio::spawn(its_feed);
    let ended = cursor.next().await;
    assert!(matches!(ended, Err(WatchError::Compacted { .. })), "{ended:?}");
    let (one, two) = (sleeper.latest().await.expect("reads"), engine.latest().await.expect("reads"));
    for name in ["pod-0", "pod-1"] {
        assert_eq!(one.get(&key(name)), two.get(&key(name)));
    }
    let mut cursor = sleeper.watch(pods(), one.revision()).expect("a cursor");
    let committed = engine.commit(put("pod-2", Expect::Absent, 1)).await.expect("is there");
    assert_eq!(cursor.next().await.expect("goes on").revision(), committed.revision);
    let (third, _feed) = open(&options).await.expect("opens over what is left");
    assert_eq!(third.snapshot().get(&key("pod-1")), one.get(&key("pod-1")));
    engine.close().await;
    sleeper.close().await;
    feed.await.expect("ends");
    its_feed.await.expect("ends");
}

#[tokio::test]
async fn a_member_that_does_not_answer_is_passed_over() {
    let Some(server) = EtcdServer::start() else { return };
    let nobody = "http://127.0.0.1:9".to_owned();
    let (engine, feed) = open(&EtcdOptions::new([nobody, server.url()])).await.expect("opens");
    let feed = tokio::spawn(feed);
    for name in ["a", "b", "c", "d"] {
        engine.commit(put(name, Expect::Absent, 1)).await.expect("is there");
    }
    engine.close().await;
    feed.await.expect("ends");
}

#[tokio::test]
async fn stores_under_two_prefixes_have_nothing_in_common() {
    let Some(server) = EtcdServer::start() else { return };
    let mut engines = Vec::new();
    for prefix in ["/one", "/one/two"] {
        let mut options = EtcdOptions::new([server.url()]);
        options.prefix = prefix.to_owned();
        let (engine, feed) = open(&options).await.expect("opens");
        tokio::spawn(feed);
        engine
            .commit(put(prefix.trim_matches('/').split('/').next_back().expect("a name"), Expect::Absent, 1))
            .await
            .expect("is there");
        engines.push(engine);
    }
    for (engine, name) in engines.iter().zip(["one", "two"]) {
        let latest = engine.latest().await.expect("reads");
        let names: Vec<String> = latest
            .range(&GroupResource::core("pods"), &Within::Everywhere, None)
            .map(|it| it.path.name().to_owned())
            .collect();
        assert_eq!(names, [name]);
        engine.close().await;
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_says_so() {
    let Some(server) = EtcdServer::start() else { return };
    let (engine, feed) = open(&EtcdOptions::new([server.url()])).await.expect("opens");
    let feed = tokio::spawn(feed);
    let outcome = engine.commit(put("large", Expect::Absent, 3 << 20)).await;
    assert!(matches!(outcome, Err(CommitError::TooLarge { .. })), "{outcome:?}");
    let mut many = Commit::default();
    for number in 0..200 {
        many.writes.extend(put(&format!("pod-{number}"), Expect::Absent, 1).writes);
    }
    let outcome = engine.commit(many).await;
    assert!(matches!(outcome, Err(CommitError::TooLarge { .. })), "{outcome:?}");
    assert_eq!(engine.latest().await.expect("reads").count(&GroupResource::core("pods"), &Within::Everywhere), 0);
    engine.close().await;
    feed.await.expect("ends");
}

#[tokio::test]
async fn another_format_is_left_alone() {
    let Some(server) = EtcdServer::start() else { return };
    let mut client = etcd_client::Client::connect([server.url()], None).await.expect("connects");
    client.put("/arktos/v", "arktos 9", None).await.expect("writes");
    let outcome = open(&EtcdOptions::new([server.url()])).await;
    assert!(matches!(outcome.err(), Some(OpenError::Format { found, .. }) if found == "arktos 9"));
}
