//! Three members, of which some die, stand still, or come back.

use std::time::Duration;

use arktos_store::commit::{CommitError, Expect};
use arktos_store::etcd::EtcdOptions;
use arktos_store::{Engine, WatchError};
use tokio::time::{Instant, sleep, timeout};

use crate::etcd_server::EtcdCluster;
use crate::etcd_server::engines::{fed, key, listed, pods, put, told_until};

/// How long any of this may take.
const BOUND: Duration = Duration::from_secs(180);

fn options(cluster: &EtcdCluster, first: usize) -> EtcdOptions {
    let mut urls = cluster.urls();
    urls.rotate_left(first);
    let mut options = EtcdOptions::new(urls);
    options.request_timeout = Duration::from_secs(4);
    options.connect_timeout = Duration::from_secs(1);
    options
}

/// What became of the writes of a while.
#[derive(Default)]
struct Written {
    acknowledged: Vec<(String, u64)>,
    unknown: Vec<String>,
    refused: usize,
    slowest: Duration,
}

impl Written {
    /// Writes pods, one after the other, and looks at each outcome.
    async fn add(&mut self, engine: &Engine, what: &str, count: usize) {
        for number in 0..count {
            let (name, began) = (format!("{what}-{number:03}"), Instant::now());
            match engine.commit(put(&name, Expect::Absent, 100)).await {
                Ok(committed) => self.acknowledged.push((name, committed.revision.0)),
                Err(CommitError::Unknown(_)) => self.unknown.push(name),
                Err(CommitError::Unavailable(_)) => self.refused += 1,
                Err(error) => panic!("{name}: {error}"),
            }
            self.slowest = self.slowest.max(began.elapsed());
        }
    }

    /// Writes one that must come through.
    async fn end(&mut self, engine: &Engine) {
        let committed = engine.commit(put("zz-end", Expect::Absent, 1)).await.expect("works again");
        self.acknowledged.push(("zz-end".to_owned(), committed.revision.0));
    }

    /// Both engines have told the same, all that was acknowledged and nothing that nobody has written.
    async fn check(&self, engines: [&Engine; 2], told: [Vec<(String, u64)>; 2]) {
        assert_eq!(told[0], told[1]);
        for event in &self.acknowledged {
            assert!(told[0].contains(event), "{event:?} is lost");
        }
        let acknowledged = |name: &String| self.acknowledged.iter().any(|(known, _)| known == name);
        for (name, _) in &told[0] {
            assert!(acknowledged(name) || self.unknown.contains(name), "{name} was refused, and is there");
        }
        let mut by_name = told[0].clone();
        by_name.sort();
        for engine in engines {
            assert_eq!(listed(engine).await, by_name);
        }
        println!(
            "acknowledged {}, unknown {}, refused {}, slowest {:?}",
            self.acknowledged.len(),
            self.unknown.len(),
            self.refused,
            self.slowest
        );
    }
}

/// Two engines that begin with different members, what happens to the cluster between their writes, and the check.
async fn story(cluster: EtcdCluster, happens: impl AsyncFnOnce(&mut EtcdCluster, &Engine, &mut Written)) -> Written {
    timeout(BOUND, async {
        let mut cluster = cluster;
        let (one, two) = (fed(&options(&cluster, 0)).await, fed(&options(&cluster, 1)).await);
        let mut cursors = [&one, &two].map(|it| it.watch(pods(), it.snapshot().revision()).expect("watches"));
        let mut written = Written::default();
        written.add(&one, "before", 20).await;
        happens(&mut cluster, &one, &mut written).await;
        written.end(&one).await;
        let [first, second] = &mut cursors;
        let told = [told_until(first, "zz-end").await, told_until(second, "zz-end").await];
        written.check([&one, &two], told).await;
        one.close().await;
        two.close().await;
        written
    })
    .await
    .expect("takes no longer")
}

#[tokio::test]
async fn a_member_that_dies_and_comes_back_costs_no_write() {
    let Some(cluster) = EtcdCluster::start() else { return };
    let led = cluster.leads().await;
    let mut leads_still = false;
    let written = story(cluster, async |cluster, engine, written| {
        let member = (0..3).find(|member| *member != led.0).expect("somebody follows");
        cluster.kill(member);
        written.add(engine, "without", 30).await;
        cluster.revive(member);
        written.add(engine, "again", 10).await;
        leads_still = cluster.leads().await == led;
    });
    let written = written.await;
    // On a busy machine members may take a leader for dead that is just slow, and choose another while writes wait.
    if leads_still {
        assert_eq!(written.refused, 0);
        assert!(written.unknown.len() <= 1, "only what was under way: {:?}", written.unknown);
    }
}

#[tokio::test]
async fn the_member_that_is_asked_may_die_and_so_may_the_leader() {
    let Some(cluster) = EtcdCluster::start() else { return };
    let written = story(cluster, async |cluster, engine, written| {
        cluster.kill(0);
        written.add(engine, "without-the-first", 20).await;
        cluster.revive(0);
        let leader = cluster.leader().await;
        cluster.kill(leader);
        written.add(engine, "without-the-leader", 20).await;
        cluster.revive(leader);
    });
    let written = written.await;
    // only the first writes after a death, while a leader is chosen: a second or two, and longer on a busy machine
    let first = |name: &String| ["-000", "-001", "-002"].iter().any(|number| name.ends_with(number));
    assert!(written.unknown.iter().all(first), "{:?}", written.unknown);
    assert!(written.unknown.len() + written.refused <= 6, "{:?}, {}", written.unknown, written.refused);
}

#[tokio::test]
async fn a_leader_that_stands_still_is_left_within_the_time_of_a_request() {
    let Some(cluster) = EtcdCluster::start() else { return };
    let leader = cluster.leader().await;
    let written = story(cluster, async |cluster, engine, written| {
        cluster.signal(leader, "STOP");
        written.add(engine, "meanwhile", 20).await;
        cluster.signal(leader, "CONT");
        written.add(engine, "again", 5).await;
    });
    let written = written.await;
    assert!(written.slowest < Duration::from_secs(30), "a request and the wait for its event: {:?}", written.slowest);
    assert!(written.acknowledged.len() > 35, "{} came through", written.acknowledged.len());
}

#[tokio::test]
async fn when_all_are_gone_writes_are_refused_and_reads_go_on_until_they_are_back() {
    let Some(cluster) = EtcdCluster::start() else { return };
    let written = story(cluster, async |cluster, engine, written| {
        (0..3).for_each(|member| cluster.kill(member));
        sleep(Duration::from_secs(1)).await; // until the connections are known to be broken
        let refused = engine.commit(put("refused", Expect::Absent, 1)).await;
        assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
        assert!(matches!(engine.latest().await.err(), Some(WatchError::Unreachable(_))));
        assert!(engine.snapshot().get(&key("before-000")).is_some(), "what is known can be read");
        cluster.revive_all();
        written.add(engine, "again", 10).await;
    });
    let written = written.await;
    assert_eq!(written.acknowledged.len(), 31, "all but the one that was refused");
}

#[tokio::test]
async fn without_a_majority_nothing_is_taken_and_nothing_hangs() {
    let Some(cluster) = EtcdCluster::start() else { return };
    let written = story(cluster, async |cluster, engine, written| {
        cluster.kill(1);
        cluster.kill(2);
        written.add(engine, "alone", 2).await;
        assert_eq!(written.acknowledged.len(), 20, "nobody can have agreed to it");
        assert!(engine.latest().await.is_err(), "a member on its own does not serve what may be old");
        cluster.revive_all();
        while engine.latest().await.is_err() {}
    });
    let written = written.await;
    assert!(written.slowest < Duration::from_secs(30), "{:?}", written.slowest);
}
