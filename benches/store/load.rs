//! Load on an engine: writers that wait for their answers, and writes at a given pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arktos::core::{Encoded, Revision};
use arktos::store::{Change, Commit, Engine, Expect};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::pods::{self, Pods, fresh};
use crate::process;

/// What a time of writing came to.
#[derive(Clone, Copy)]
pub struct Round {
    pub per_second: f64,
    /// Processor time of the store for each write, in µs; ours includes the writers'.
    pub cpu_each: f64,
    /// Processor time of the writers for each write, in µs, where it is apart from the store's.
    #[cfg_attr(not(feature = "bench-etcd"), allow(dead_code))]
    pub client_cpu_each: f64,
}

/// Writers who each update an object of their own, always at the revision they know, and wait for each answer.
pub struct Writers {
    engine: Engine,
    first: usize,
    known: Vec<(Encoded, Expect)>,
}

impl Writers {
    /// Of the objects from `first` on, which are not there yet.
    pub fn new(engine: &Engine, pods: &Pods, first: usize, writers: usize) -> Self {
        let known = (first..first + writers).map(|number| (pods.pod(number), Expect::Absent)).collect();
        Self { engine: engine.clone(), first, known }
    }

    /// All of them write for a time.
    pub async fn round(&mut self, time: Duration) -> Round {
        let (start, cpu) = (Instant::now(), process::cpu());
        let until = start + time;
        let tasks: Vec<_> = self
            .known
            .iter()
            .enumerate()
            .map(|(writer, (object, expect))| {
                let (engine, object, mut expect) = (self.engine.clone(), object.clone(), *expect);
                let key = pods::key(self.first + writer);
                tokio::spawn(async move {
                    let mut writes = 0_u64;
                    while Instant::now() < until {
                        let commit = Commit::one(key.clone(), expect, Change::put(fresh(&object)));
                        expect = Expect::At(engine.commit(commit).await.expect("commits").revision);
                        writes += 1;
                    }
                    (expect, writes)
                })
            })
            .collect();
        let mut writes = 0.0;
        for (task, (_, expect)) in tasks.into_iter().zip(&mut self.known) {
            let (now, done) = task.await.expect("runs");
            *expect = now;
            writes += done as f64;
        }
        let cpu_each = (process::cpu() - cpu) * 1e6 / writes;
        Round { per_second: writes / start.elapsed().as_secs_f64(), cpu_each, client_cpu_each: 0.0 }
    }
}

/// When a write was due, and what came of it.
pub type Paced = (Instant, JoinHandle<Revision>);

/// Commits at a steady pace, from a thread that waits for none of them: one that is late does not hold the next back,
/// and its lateness counts.
pub fn paced(
    runtime: &Handle,
    engine: &Engine,
    per_second: usize,
    commits: impl Iterator<Item = Commit> + Send + 'static,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<Vec<Paced>> {
    let (runtime, engine) = (runtime.clone(), engine.clone());
    std::thread::spawn(move || {
        let start = Instant::now();
        let mut done = Vec::new();
        for (at, commit) in commits.enumerate() {
            let due = start + Duration::from_secs_f64(at as f64 / per_second as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let engine = engine.clone();
            let write = async move { engine.commit(commit).await.expect("commits").revision };
            done.push((due, runtime.spawn(write)));
        }
        done
    })
}

/// Creates pods, many at a time.
pub async fn fill(engine: &Engine, pods: &Pods, objects: usize) {
    const AT_A_TIME: usize = 256;
    let tasks: Vec<_> = (0..AT_A_TIME)
        .map(|first| {
            let (engine, pods) = (engine.clone(), pods.clone());
            tokio::spawn(async move {
                for number in (first..objects).step_by(AT_A_TIME) {
                    engine.commit(pods.create(number)).await.expect("commits");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("runs");
    }
}
