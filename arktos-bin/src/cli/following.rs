//! The thread that follows other roles.
//!
//! A resource manager hears through one stream of each partition which pods its hosts are to run. Tens of thousands
//! of hosts keep its runtime full of tasks that are ready; as one of them, whoever reads that stream gets a turn every
//! few hundred milliseconds, and what one turn may read is bounded by the stream's window. So the stream is read on a
//! thread of its own, to which the kernel gives a fair share.

use std::sync::Arc;
use std::thread::JoinHandle;

use arktos_store::Tasks;
use tokio::sync::oneshot;

/// A thread and the tasks that run on it.
pub(super) struct Following {
    tasks: Tasks,
    /// Dropped when the thread is to end.
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Following {
    /// Starts the thread.
    ///
    /// # Errors
    /// A sentence, when the system gives none.
    pub(super) fn start() -> Result<Self, String> {
        let fault = |error| format!("no thread to follow other roles: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let run = move || {
            let _ = runtime.block_on(ended);
        };
        let thread = std::thread::Builder::new().name("following".to_owned()).spawn(run).map_err(fault)?;
        let tasks = Tasks::spawning(Arc::new(move |future| drop(handle.spawn(future))));
        Ok(Self { tasks, end, thread })
    }

    /// What runs there.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Ends the tasks, and then the thread.
    pub(super) async fn stop(self) {
        self.tasks.stop().await;
        drop(self.end);
        let _ = self.thread.join(); // nothing is left to run there
    }
}
