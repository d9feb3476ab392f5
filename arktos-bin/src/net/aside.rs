//! Requests with large bodies, worked on aside.
//!
//! Reading an object of a megabyte, checking it and refusing it keeps a thread busy for tens of milliseconds, and what
//! else is ready on a worker of the runtime waits for that long. So threads of their own do it, to which the kernel
//! gives a core when the workers leave one: everybody else's requests go first, and these go on.

use std::future::Future;
use std::sync::OnceLock;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::cli::STACK;

/// How far the threads stand behind others for the kernel's cores.
const NICE: i32 = 10;

/// The threads for large bodies. They are there once one has come, and end with this.
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

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// As many threads as half of the cores, and one at the least; none where the system gives none.
fn start() -> Option<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_stack_size(STACK).thread_name("large bodies").enable_all();
    let started = builder.on_thread_start(stand_behind).build();
    started.inspect_err(|error| tracing::warn!(%error, "no threads for large bodies")).ok()
}

/// Puts the calling thread behind others, where the system puts threads behind each other and not processes alone.
fn stand_behind() {
    let behind = || setpriority_process(None, getpriority_process(None)?.saturating_add(NICE));
    if cfg!(target_os = "linux")
        && let Err(error) = behind()
    {
        tracing::debug!(%error, "large bodies are worked on as all else is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        Builder::new_current_thread().build().expect("a runtime").block_on(test)
    }

    #[test]
    fn what_is_done_aside_is_done_on_another_thread_which_stands_behind() {
        let here = std::thread::current().id();
        let nice = || getpriority_process(None).expect("a priority");
        let (before, aside) = (nice(), Aside::default());
        let (there, behind) = run(aside.run(async move { (std::thread::current().id(), nice()) }));
        assert_ne!(here, there);
        if cfg!(target_os = "linux") {
            assert_eq!((behind, nice()), ((before + NICE).min(19), before));
        }
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
