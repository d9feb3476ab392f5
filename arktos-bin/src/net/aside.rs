//! Low-priority work: requests with large bodies, and connections of tenants that ask for more than their share.
//!
//! Reading an object of a megabyte, checking it and refusing it keeps a thread busy for tens of milliseconds, and what
//! else is ready on a worker of the runtime waits for that long; so it does for the many requests of a tenant that asks
//! for more than its share. So threads of their own do it, to which the kernel gives a core when the workers leave one:
//! everybody else's requests go first, and these go on. There is one thread fewer than there are cores, where there are
//! several, so that whoever wakes up finds a core without having to take one away.

use std::future::{Future, poll_fn};
use std::num::NonZero;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::Poll;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::cli::STACK;

/// How far the threads stand behind others for the kernel's cores.
const NICE: i32 = 10;

/// The threads aside. They are there once something has come for them, and end with this.
#[derive(Default)]
pub(super) struct Aside(OnceLock<Option<Runtime>>);

impl Aside {
    /// Does something on those threads. It ends when this is dropped.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let Some(runtime) = self.0.get_or_init(start) else { return work.await };
        let mut only = JoinSet::new();
        only.spawn_on(work, runtime.handle());
        match only.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(failed)) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            _ => std::future::pending().await, // the threads have ended, and so does whoever asks
        }
    }
}

impl Aside {
    /// Sees a connection through: aside for as long as it stands behind others. It ends when this is dropped.
    pub(super) async fn see_through<C, S>(&self, connection: C, stands_behind: S) -> C::Output
    where
        C: Future<Output: Send> + Send + 'static,
        S: Fn() -> bool + Clone + Send + Sync + 'static,
    {
        let mut connection = Box::pin(connection);
        loop {
            if let Some(done) = as_it_stands(&mut connection, &stands_behind, false).await {
                return done;
            }
            let stands_behind = stands_behind.clone();
            let (moved, done) = self
                .run(async move {
                    let done = as_it_stands(&mut connection, &stands_behind, true).await;
                    (connection, done)
                })
                .await;
            if let Some(done) = done {
                return done;
            }
            connection = moved;
        }
    }
}

/// Goes on with a connection until it has ended, or stands behind others and did not, or the other way round. What it
/// waits for wakes whoever asked last, so it can be gone on with anywhere.
async fn as_it_stands<C: Future>(
    connection: &mut Pin<Box<C>>,
    stands_behind: impl Fn() -> bool,
    behind: bool,
) -> Option<C::Output> {
    poll_fn(|context| {
        if stands_behind() != behind {
            return Poll::Ready(None);
        }
        match connection.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if stands_behind() != behind => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// One thread fewer than there are cores, and one at least; none where the system gives none.
fn start() -> Option<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_stack_size(STACK).thread_name("aside").enable_all();
    let started = builder.on_thread_start(stand_behind).build();
    started.inspect_err(|error| tracing::warn!(%error, "no threads to work aside")).ok()
}

/// Puts the calling thread behind others, where the system puts threads behind each other and not processes alone.
fn stand_behind() {
    arktos_store::behind::stand();
    let behind = || setpriority_process(None, getpriority_process(None)?.saturating_add(NICE));
    if cfg!(target_os = "linux")
        && let Err(error) = behind()
    {
        tracing::debug!(%error, "what stands behind is worked on as all else is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    fn run<T>(test: impl Future<Output = T>) -> T {
        Builder::new_current_thread().build().expect("a runtime").block_on(test)
    }

    #[test]
    fn what_is_done_aside_is_done_on_another_thread_which_stands_behind() {
        let here = thread::current().id();
        let nice = || getpriority_process(None).expect("a priority");
        let (before, aside) = (nice(), Aside::default());
        let (there, behind) = run(aside.run(async move { (thread::current().id(), nice()) }));
        assert_ne!(here, there);
        if cfg!(target_os = "linux") {
            assert_eq!((behind, nice()), ((before + NICE).min(19), before));
        }
    }

    #[test]
    fn a_connection_is_aside_for_as_long_as_it_stands_behind() {
        let behind = Arc::new(AtomicBool::new(false));
        let stands = behind.clone();
        let connection = async move {
            let mut threads = vec![thread::current().id()];
            for next in [true, true, false] {
                stands.store(next, Ordering::Relaxed);
                tokio::task::yield_now().await;
                threads.push(thread::current().id());
            }
            threads
        };
        let threads = run(Aside::default().see_through(connection, move || behind.load(Ordering::Relaxed)));
        let here = thread::current().id();
        assert_eq!(threads.iter().map(|thread| *thread == here).collect::<Vec<_>>(), [true, false, false, true]);
    }

    #[test]
    fn what_nobody_waits_for_any_longer_ends() {
        let aside = Aside::default();
        let (held, mut gone) = tokio::sync::oneshot::channel::<()>();
        run(async {
            let work = aside.run(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
            assert!(futures::poll!(std::pin::pin!(work)).is_pending());
            assert!((&mut gone).await.is_err());
        });
    }

    #[test]
    #[should_panic(expected = "told on")]
    fn who_waits_hears_of_a_panic() {
        run(Aside::default().run(async { panic!("told on") }));
    }
}
