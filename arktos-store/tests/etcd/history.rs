//! Revisions, history, and what is left of it after a compaction.

use std::collections::BTreeMap;
use std::time::Duration;

use arktos_core::{GroupResource, Revision, Timestamp};
use arktos_store::commit::{Change, Commit, Expect, Write};
use arktos_store::etcd::EtcdOptions;
use arktos_store::{Delivery, Engine, Within};
use etcd_client::Client;
use futures::future::join_all;
use tokio::time::{sleep, timeout};

use crate::etcd_server::EtcdServer;
use crate::etcd_server::engines::{fed, key, listed, open, pods, put, told_until};
use crate::etcd_server::proxy::{Network, Proxy};

const BOUND: Duration = Duration::from_secs(180);

fn options(url: String) -> EtcdOptions {
    let mut options = EtcdOptions::new([url]);
    options.request_timeout = Duration::from_secs(3);
    options
}

async fn compact(server: &EtcdServer) {
    let mut client = Client::connect([server.url()], None).await.expect("connects");
    let newest = client.get("x", None).await.expect("reads").header().expect("has a header").revision();
    client.compact(newest, None).await.expect("compacts");
}

/// Commits of one to four writes, some of them deletions, of objects that all writers share. Gives back what each write
/// was told to have for a revision.
async fn churn(engine: &Engine, writer: usize) -> Vec<(String, u64)> {
    let mut written = Vec::new();
    for round in 0..40 {
        let mut commit = Commit::default();
        for place in 0..=round % 4 {
            let name = format!("pod-{}", (writer * 7 + round * 3 + place * 5) % 20);
            if commit.writes.iter().all(|write| write.key != key(&name)) {
                if (round + place).is_multiple_of(3) {
                    commit.writes.push(Write { key: key(&name), expect: Expect::Anything, change: Change::Delete });
                } else {
                    commit.writes.extend(put(&name, Expect::Anything, round).writes);
                }
            }
        }
        let names: Vec<String> = commit.writes.iter().map(|write| write.key.path.name().to_owned()).collect();
        let committed = engine.commit(commit).await.expect("is done");
        let newest = engine.snapshot().revision();
        assert!(newest >= committed.revision, "whoever is answered reads what it wrote");
        written.extend(names.into_iter().zip(committed.revisions.iter().map(|revision| revision.0)));
    }
    written
}

#[tokio::test]
async fn each_write_has_a_revision_of_its_own_and_all_engines_see_them_rise_in_one_order() {
    let Some(server) = EtcdServer::start() else { return };
    timeout(BOUND, async {
        let options = options(server.url());
        let engines = [fed(&options).await, fed(&options).await];
        let cursors = [0, 1].map(|it: usize| {
            engines[it]
                .watch(pods(), Revision(0))
                .or_else(|_| engines[it].watch(pods(), engines[it].snapshot().revision()))
        });
        let mut cursors = cursors.map(|cursor| cursor.expect("watches"));
        let writers = (0..4).map(|writer| churn(&engines[writer % 2], writer));
        let mut written: Vec<(String, u64)> = join_all(writers).await.into_iter().flatten().collect();
        engines[0].commit(put("zz-end", Expect::Absent, 1)).await.expect("is there");
        // `told_until` checks that revisions rise
        let told = [told_until(&mut cursors[0], "zz-end").await, told_until(&mut cursors[1], "zz-end").await];
        assert_eq!(told[0], told[1]);
        // what changed something was told, at the revision its writer was answered; nothing else was
        let by_revision: BTreeMap<u64, &String> = told[0].iter().map(|(name, revision)| (*revision, name)).collect();
        assert_eq!(by_revision.len(), told[0].len());
        written.retain(|(name, revision)| by_revision.get(revision) == Some(&name));
        written.sort_by_key(|(_, revision)| *revision);
        written.dedup();
        assert_eq!(written, told[0][..told[0].len() - 1]);
        // and whoever opens the store later reads the same history
        let later = fed(&options).await;
        let mut cursor = later.watch(pods(), Revision(told[0][0].1)).expect("history reaches back");
        assert_eq!(told_until(&mut cursor, "zz-end").await, told[0][1..]);
        assert_eq!(listed(&later).await, listed(&engines[1]).await);
        // a list of one can be followed at another, without a write in between
        for (here, there) in [(&later, &engines[0]), (&engines[0], &later)] {
            let listed = here.latest().await.expect("reads").revision();
            timeout(Duration::from_secs(30), there.not_older_than(listed)).await.expect("is there").expect("reads");
            there.watch(pods(), listed).expect("goes on from there");
        }
    })
    .await
    .expect("takes no longer");
}

#[tokio::test]
async fn a_quiet_store_is_not_cut_off_by_what_its_neighbours_let_etcd_forget() {
    let Some(server) = EtcdServer::start() else { return };
    timeout(BOUND, async {
        let proxy = Proxy::start(&server.url()).await;
        let mut busy = options(server.url());
        busy.prefix = "/busy".to_owned();
        let (quiet, busy) = (fed(&options(proxy.url())).await, fed(&busy).await);
        quiet.commit(put("a", Expect::Absent, 1)).await.expect("is there");
        let start = quiet.snapshot().revision();
        let mut cursor = quiet.watch(pods(), start).expect("watches");
        for number in 0..20 {
            busy.commit(put(&format!("pod-{number}"), Expect::Absent, 1)).await.expect("is there");
        }
        proxy.set(Network::Down);
        compact(&server).await;
        proxy.set(Network::Works);
        let moved = quiet.not_older_than(Revision(start.0 + 256)).await.expect("goes on from where etcd is");
        assert!(moved.get(&key("a")).is_some());
        assert!(cursor.bookmark_now() > start, "a bookmark says so");
        quiet.commit(put("b", Expect::Absent, 1)).await.expect("is there");
        assert!(matches!(cursor.next().await, Ok(Delivery::Added(_))), "nobody has to list anew");
        quiet.close().await;
        busy.close().await;
    })
    .await
    .expect("takes no longer");
}

#[tokio::test]
async fn progress_that_etcd_reports_moves_the_bookmarks_of_a_quiet_store() {
    let flag = ["--experimental-watch-progress-notify-interval", "300ms"];
    let Some(server) = EtcdServer::start_with(&flag) else { return };
    timeout(BOUND, async {
        let engine = fed(&options(server.url())).await;
        let mut cursor = engine.watch(pods(), engine.snapshot().revision()).expect("watches");
        let before = cursor.bookmark_now();
        let mut client = Client::connect([server.url()], None).await.expect("connects");
        let at = client.put("/elsewhere", "x", None).await.expect("writes");
        let revision = at.header().expect("has a header").revision();
        let wanted = Revision(revision.cast_unsigned() << 8);
        engine.not_older_than(wanted).await.expect("is told");
        assert!(cursor.bookmark_now() >= wanted && wanted > before);
        engine.close().await;
    })
    .await
    .expect("takes no longer");
}

#[tokio::test]
async fn a_watch_that_was_cut_off_over_a_compaction_ends_and_says_so() {
    let Some(server) = EtcdServer::start() else { return };
    timeout(BOUND, async {
        let proxy = Proxy::start(&server.url()).await;
        let (cut, other) = (fed(&options(proxy.url())).await, fed(&options(server.url())).await);
        let mut cursor = cut.watch(pods(), cut.snapshot().revision()).expect("watches");
        other.commit(put("seen", Expect::Absent, 1)).await.expect("is there");
        assert_eq!(cursor.next().await.expect("is told").stored().expect("a pod").path.name(), "seen");
        proxy.set(Network::Down);
        sleep(Duration::from_millis(200)).await;
        other.commit(put("missed", Expect::Absent, 1)).await.expect("is there");
        other.commit(Commit::one(key("seen"), Expect::Present, Change::Delete)).await.expect("is gone");
        compact(&server).await;
        proxy.set(Network::Works);
        let ended = cursor.next().await;
        assert!(matches!(ended, Err(arktos_store::WatchError::Compacted { .. })), "{ended:?}");
        let latest = cut.latest().await.expect("reads");
        assert!(latest.get(&key("missed")).is_some() && latest.get(&key("seen")).is_none());
        let mut anew = cut.watch(pods(), latest.revision()).expect("begins anew");
        other.commit(put("next", Expect::Absent, 1)).await.expect("is there");
        assert_eq!(told_until(&mut anew, "next").await.len(), 1);
        cut.close().await;
        other.close().await;
    })
    .await
    .expect("takes no longer");
}

#[tokio::test]
async fn a_large_state_is_loaded_at_one_revision_while_it_changes_and_is_compacted() {
    const OBJECTS: usize = 1200;
    let Some(server) = EtcdServer::start() else { return };
    timeout(BOUND, async {
        let options = options(server.url());
        let engine = fed(&options).await;
        for first in (0..OBJECTS).step_by(40) {
            let mut commit = Commit::default();
            for number in first..first + 40 {
                let size = if number % 100 == 0 { 200_000 } else { 5_000 };
                commit.writes.extend(put(&format!("pod-{number:04}"), Expect::Absent, size).writes);
            }
            engine.commit(commit).await.expect("is there");
        }
        let changes = async {
            for round in 0..60 {
                engine.commit(put(&format!("pod-{:04}", round * 17), Expect::Present, 10)).await.expect("is there");
                // Four times in all: whoever opens the store begins anew each time, and not for ever.
                if round % 15 == 0 {
                    compact(&server).await;
                }
            }
        };
        let ((), opened) = tokio::join!(changes, async {
            let mut opened = Vec::new();
            for _ in 0..3 {
                opened.push(open(&options).await.expect("opens all the same").0);
            }
            opened
        });
        engine.latest().await.expect("is up to date");
        for loaded in opened {
            let snapshot = loaded.snapshot();
            let resource = GroupResource::core("pods");
            assert_eq!(snapshot.count(&resource, &Within::Everywhere), OBJECTS);
            let then = engine.exactly_at(snapshot.revision()).expect("is in the history");
            let (mut here, mut there) = (
                snapshot.range(&resource, &Within::Everywhere, None),
                then.range(&resource, &Within::Everywhere, None),
            );
            assert!(here.by_ref().eq(there.by_ref()), "it is not the state at {}", snapshot.revision());
        }
        engine.close().await;
    })
    .await
    .expect("takes no longer");
}

/// Events come by the thousand: one transaction for each that expires would not keep up with them.
#[tokio::test]
async fn what_is_due_expires_many_at_a_time_and_what_was_written_since_stays() {
    let Some(server) = EtcdServer::start() else { return };
    timeout(BOUND, async {
        let engine = fed(&options(server.url())).await;
        for number in 0..100 {
            let mut expiring = put(&format!("pod-{number:02}"), Expect::Absent, 1);
            for write in &mut expiring.writes {
                if let Change::Put { expires, .. } = &mut write.change {
                    *expires = Some(Timestamp::from_micros(5));
                }
            }
            engine.commit(expiring).await.expect("is there");
        }
        let before = engine.commit(put("pod-77", Expect::Present, 1)).await.expect("is there").revision;
        assert_eq!(engine.expire(Timestamp::from_micros(5)).await.expect("expires"), 99);
        let left: Vec<String> = listed(&engine).await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(left, ["pod-77"]);
        let transactions = (engine.snapshot().revision().0 >> 8) - (before.0 >> 8);
        assert!(transactions < 10, "{transactions} transactions");
        engine.close().await;
    })
    .await
    .expect("takes no longer");
}
