//! Durable conditional writes: many writers at once, and one alone.

use std::time::{Duration, Instant};

use arktos::store::{Change, Commit, Expect};

use futures::executor::block_on;

use crate::etcd::Peer;
use crate::load::{Round, Writers};
use crate::machine::SyncFile;
use crate::pods::{self, Pods, fresh};
use crate::report::{Found, Goal, Row, figure, median};
use crate::{Bench, Outcome, open_log, process, progress, runtime};

const WRITERS: usize = 256;

/// 256 writers, ours and etcd's in turn. The log is looked after meanwhile, as in production: snapshots and all.
pub fn writes(bench: &Bench) -> Outcome<Found> {
    let time = Duration::from_millis(bench.scale.pick(50, 700, 3000));
    let rounds = bench.scale.pick(1, 3, 5);
    let pods = Pods::of(1024);
    let mut found = Found::default();
    let (threads, connections) = (runtime(2)?, runtime(2)?);
    let mut peer = match Peer::start(&connections, &bench.directory, &pods, WRITERS, time) {
        Ok(peer) => Some(peer),
        Err(why) => {
            found.notes.push(format!("no etcd beside ours: {why}"));
            None
        }
    };
    let engine = open_log(&bench.directory.join("log"))?;
    let looked_after = engine.clone();
    let keeper = threads.spawn(async move { looked_after.maintenance().await });
    let mut writers = Writers::new(&engine, &pods, 0, WRITERS);
    let (mut ours, mut theirs, mut bytes_each) = (Vec::new(), Vec::new(), 0.0);
    for at in 0..=rounds {
        let written = process::written();
        let round = threads.block_on(writers.round(time));
        bytes_each = (process::written() - written) / (round.per_second * time.as_secs_f64());
        let beside = peer.as_mut().map(|peer| connections.block_on(peer.round(time)));
        let beside_text = beside.map(|beside| format!(", etcd {:.0}/s", beside.per_second)).unwrap_or_default();
        progress(format!("ours {:.0}/s at {:.1} µs{beside_text}", round.per_second, round.cpu_each));
        if at > 0 {
            ours.push(round); // the first only warms up
            theirs.extend(beside);
        }
    }
    threads.block_on(engine.close());
    threads.block_on(keeper)?;
    let of = |rounds: &[Round], which: fn(&Round) -> f64| median(rounds.iter().map(which));
    let rate = figure(of(&ours, |round| round.per_second), "/s");
    let their_rate = peer.is_some().then(|| figure(of(&theirs, |round| round.per_second), "/s"));
    let their_cpu = peer.is_some().then(|| figure(of(&theirs, |round| round.cpu_each), "µs"));
    let what = "durable conditional writes, 256 writers, 1 KiB";
    found.rows = vec![
        Row::of(what, rate).goal(Goal::TimesAtLeast(8.0)).peer(their_rate),
        Row::of(what, rate).goal(Goal::AtLeast(100_000.0)).peer(their_rate),
        Row::of(
            "CPU of a write, ours with its writers, etcd's without",
            figure(of(&ours, |round| round.cpu_each), "µs"),
        )
        .goal(Goal::AtMost(15.0))
        .peer(their_cpu),
    ];
    found.notes.push(format!("ours hands {bytes_each:.0} bytes a write to the disk, snapshots included"));
    if let Some(peer) = &peer {
        let client = of(&theirs, |round| round.client_cpu_each);
        found.notes.push(format!("{}; its client uses {client:.0} µs CPU a write beside it", peer.about()));
    }
    Ok(found)
}

/// One writer, in turn with syncs of as many bytes as a commit of it has on the disk.
pub fn latency(bench: &Bench) -> Outcome<Found> {
    const IN_TURN: usize = 50;
    let turns = bench.scale.pick(1, 20, 80);
    let engine = open_log(&bench.directory.join("log"))?;
    let object = Pods::of(1024).pod(0);
    let mut expect = Expect::Absent;
    let mut write = |into: &mut Vec<f64>| -> Outcome<()> {
        for _ in 0..IN_TURN {
            let commit = Commit::one(pods::key(0), expect, Change::put(fresh(&object)));
            let start = Instant::now();
            let committed = block_on(engine.commit(commit))?;
            into.push(start.elapsed().as_secs_f64());
            expect = Expect::At(committed.revision);
        }
        Ok(())
    };
    write(&mut Vec::new())?; // warms up
    let before = process::written();
    write(&mut Vec::new())?;
    let bytes = ((process::written() - before) / IN_TURN as f64).round() as usize;
    let mut file = SyncFile::new(&bench.directory.join("sync"), bytes.max(1))?;
    let (mut ours, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        write(&mut ours)?;
        for _ in 0..IN_TURN {
            syncs.push(file.sync()?);
        }
    }
    block_on(engine.close());
    let row = Row::of("latency of one writer, 1 KiB, p50", figure(median(ours) * 1e6, "µs"))
        .goal(Goal::TimesAtMost(1.3))
        .limit(figure(median(syncs) * 1e6, "µs"));
    let notes = vec![
        format!("the limit is a fdatasync of the same {bytes} bytes, in turn"),
        "the writer is a thread that waits for nothing else: what a runtime takes to wake a task is not in it"
            .to_owned(),
    ];
    Ok(Found { rows: vec![row], notes })
}
