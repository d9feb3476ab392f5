//! Networks that lose what they carry, and peers that say nothing.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::GroupResource;
use arktos_store::commit::{Commit, CommitError, CounterChange, Expect};
use arktos_store::etcd::{Etcd, EtcdOptions};
use arktos_store::storage::OpenError;
use arktos_store::{WatchError, Within};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::etcd_server::EtcdServer;
use crate::etcd_server::engines::{RuntimeClock, fed, key, listed, open, pods, put, told_until};
use crate::etcd_server::proxy::{Network, Proxy};

/// Nothing here may hang. How long things take on a busy machine is nobody's promise.
const BOUND: Duration = Duration::from_secs(180);

fn options(urls: Vec<String>) -> EtcdOptions {
    let mut options = EtcdOptions::new(urls);
    options.request_timeout = Duration::from_secs(2);
    options.connect_timeout = Duration::from_millis(500);
    options
}

/// Accepts, reads, and never answers. Gives back its URL, and what it has read.
async fn silent() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let all = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                    heard.lock().extend_from_slice(&bytes[..read]);
                }
            });
        }
    });
    (url, all)
}

#[tokio::test]
async fn a_peer_that_never_answers_is_given_up_and_not_asked_again() {
    timeout(BOUND, async {
        for url in [silent().await.0, silent().await.0.replace("http", "https")] {
            let refused = Etcd::connect(&options(vec![url]), RuntimeClock::new()).await;
            assert!(matches!(refused.err(), Some(OpenError::Other(_))));
        }
        let Some(server) = EtcdServer::start() else { return };
        let (url, heard) = silent().await;
        let engine = fed(&options(vec![url, server.url()])).await;
        assert!(!heard.lock().is_empty(), "the first one was asked first");
        for number in 0..10 {
            let put = put(&format!("pod-{number}"), Expect::Absent, 1);
            engine.commit(put).await.expect("the other is known to answer");
        }
        let sent = |text: &[u8]| heard.lock().windows(text.len()).any(|bytes| bytes == text);
        assert!(!sent(b"pod-"), "no write goes to the one that is silent");
        engine.close().await;
    })
    .await
    .expect("does not hang");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_unknown_and_is_not_sent_again() {
    let Some(server) = EtcdServer::start() else { return };
    let (proxy, other) = (Proxy::start(&server.url()).await, Proxy::start(&server.url()).await);
    timeout(BOUND, async {
        let watcher = fed(&options(vec![server.url()])).await;
        let mut cursor = watcher.watch(pods(), watcher.snapshot().revision()).expect("watches");
        let engine = fed(&options(vec![proxy.url(), other.url()])).await;
        engine.commit(put("before", Expect::Absent, 1)).await.expect("is there");
        proxy.set(Network::LosesAnswers);
        let counters = vec![CounterChange { counter: "quota".into(), delta: 1, limit: Some(10) }];
        let outcome = engine.commit(Commit { counters, ..put("lost", Expect::Anything, 1) }).await;
        assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
        // the next is sent over the other road, and the watch goes there as well
        engine.commit(put("after", Expect::Absent, 1)).await.expect("is there");
        proxy.set(Network::Works);
        let told = told_until(&mut cursor, "after").await;
        assert_eq!(told.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["before", "lost", "after"]);
        watcher.latest().await.expect("reads");
        engine.latest().await.expect("reads");
        assert_eq!((watcher.counter("quota"), engine.counter("quota")), (1, 1), "it was done once");
        engine.close().await;
        watcher.close().await;
    })
    .await
    .expect("does not hang");
}

#[tokio::test]
async fn what_was_certainly_not_sent_is_not_called_unknown() {
    let Some(server) = EtcdServer::start() else { return };
    let proxy = Proxy::start(&server.url()).await;
    timeout(BOUND, async {
        let engine = fed(&options(vec![proxy.url(), "http://127.0.0.1:9".to_owned()])).await;
        engine.commit(put("before", Expect::Absent, 1)).await.expect("is there");
        drop(proxy);
        drop(server);
        assert!(engine.latest().await.is_err(), "the connections are broken, and that is known from now on");
        let refused = engine.commit(put("refused", Expect::Absent, 1)).await;
        assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
        engine.close().await;
    })
    .await
    .expect("does not hang");
}

#[tokio::test]
async fn a_watch_that_falls_silent_holds_nobody_for_ever_and_misses_nothing() {
    let Some(server) = EtcdServer::start() else { return };
    let proxy = Proxy::start(&server.url()).await;
    timeout(BOUND, async {
        let (engine, other) = (fed(&options(vec![proxy.url()])).await, fed(&options(vec![server.url()])).await);
        let mut cursor = engine.watch(pods(), engine.snapshot().revision()).expect("watches");
        other.commit(put("before", Expect::Absent, 1)).await.expect("is there");
        proxy.set(Network::LosesAnswers);
        for number in 0..20 {
            other.commit(put(&format!("meanwhile-{number:02}"), Expect::Absent, 1)).await.expect("is there");
        }
        assert!(matches!(engine.latest().await.err(), Some(WatchError::Unreachable(_))));
        proxy.set(Network::Works);
        other.commit(put("zz-end", Expect::Absent, 1)).await.expect("is there");
        assert_eq!(told_until(&mut cursor, "zz-end").await.len(), 22);
        assert_eq!(listed(&engine).await, listed(&other).await);
        engine.close().await;
        other.close().await;
    })
    .await
    .expect("does not hang");
}

#[tokio::test]
async fn when_a_write_is_not_told_of_every_watch_begins_anew() {
    let Some(server) = EtcdServer::start() else { return };
    let proxy = Proxy::start(&server.url()).await;
    timeout(BOUND, async {
        let (engine, other) = (fed(&options(vec![proxy.url()])).await, fed(&options(vec![server.url()])).await);
        let mut cursor = engine.watch(pods(), engine.snapshot().revision()).expect("watches");
        other.commit(put("before", Expect::Absent, 1)).await.expect("is there");
        assert_eq!(told_until(&mut cursor, "before").await.len(), 1);
        proxy.set(Network::LosesSome);
        other.commit(put("lost", Expect::Absent, 1)).await.expect("is there");
        proxy.has_lost("/default/lost").await;
        proxy.set(Network::Works);
        other.commit(put("after", Expect::Absent, 1)).await.expect("is there");
        let ended = cursor.next().await;
        assert!(matches!(ended, Err(WatchError::Compacted { .. })), "{ended:?}");
        assert_eq!(listed(&engine).await, listed(&other).await);
        engine.close().await;
        other.close().await;
    })
    .await
    .expect("does not hang");
}

#[tokio::test]
async fn an_engine_that_is_not_fed_for_long_misses_nothing_when_it_is() {
    let Some(server) = EtcdServer::start() else { return };
    timeout(BOUND, async {
        let options = options(vec![server.url()]);
        let (slow, its_feed) = open(&options).await.expect("opens");
        let engine = fed(&options).await;
        let mut cursor = slow.watch(pods(), slow.snapshot().revision()).expect("watches");
        for number in 0..200 {
            engine.commit(put(&format!("pod-{:02}", number % 50), Expect::Anything, 20_000)).await.expect("is there");
        }
        engine.commit(put("zz-end", Expect::Absent, 1)).await.expect("is there");
        tokio::spawn(its_feed);
        assert_eq!(told_until(&mut cursor, "zz-end").await.len(), 201);
        let latest = slow.latest().await.expect("reads");
        assert_eq!(latest.count(&GroupResource::core("pods"), &Within::Everywhere), 51);
        assert_eq!(latest.get(&key("pod-49")), engine.snapshot().get(&key("pod-49")));
        engine.close().await;
        slow.close().await;
    })
    .await
    .expect("does not hang");
}
