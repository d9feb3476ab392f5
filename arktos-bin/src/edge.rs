//! The edge of the program: the clock on the wall, the operating system's randomness and threads for long work, handed
//! to the libraries.

use std::time::{Duration, Instant};

use arktos_api::Aside;
use arktos_core::Timestamp;
use arktos_store::{Clock, Random};
use futures::future::BoxFuture;

/// The clock on the wall, read once and carried on by the monotonic clock, so that it never runs backwards.
pub struct SystemClock {
    started: Instant,
    started_at: Timestamp,
}

impl SystemClock {
    /// A clock that shows the time now.
    #[must_use]
    #[allow(clippy::disallowed_methods)] // this is where time enters the program
    pub fn new() -> Self {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        Self { started: Instant::now(), started_at: Timestamp::from_micros(micros) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started_at.later(self.started.elapsed())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Does what takes long on the runtime's threads for that.
pub struct BlockingThreads;

impl Aside for BlockingThreads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }
}

/// The operating system's randomness.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // Without a source of randomness there are no safe uids and no keys: better no process than a guessable one.
        if let Err(error) = getrandom::fill(bytes) {
            tracing::error!(%error, "the operating system gives no randomness");
            std::process::abort();
        }
    }
}
