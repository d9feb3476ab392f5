//! The command line: what each program takes, and what it prints.

pub mod aggregator;
pub mod audit;
pub mod authentication;
mod backup;
mod credentials;
pub mod directory;
pub mod election;
pub mod encryption;
mod followed_file;
mod following;
pub mod gateway;
pub mod hosts;
pub mod kubeconfig;
pub mod logging;
pub mod partition;
pub mod resource_manager;
pub mod role;
pub mod serving;
mod serving_certificate;
pub mod store;
pub mod storing;
pub mod token_keys;
pub mod traces;
pub mod up;

use std::fmt::Display;
use std::future::Future;
use std::process::ExitCode;

use tokio::sync::watch;

/// The allocator of the programs, which name it as theirs: a control plane makes and drops many small values, on all
/// threads, for as long as it runs.
pub use mimalloc::MiMalloc as Allocator;

/// The stack of a thread, in bytes. Objects nest up to 128 levels, and what merges, compares and checks them goes down
/// with them; a program built without optimisation needs 2 MiB and more for that. What is not used takes no memory.
pub(crate) const STACK: usize = 16 << 20;

/// Runs a role until it ends or the process is told to stop (SIGTERM, ctrl-C), and turns a failure into one line.
pub fn run<F, E>(role: impl FnOnce(watch::Receiver<bool>) -> F) -> ExitCode
where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    raise_limit_of_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let outcome = runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        let signals = tokio::spawn(signals(stop));
        let outcome = role(stopping).await;
        crate::traces::stop().await;
        signals.abort();
        outcome
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Each connection is an open file, and many systems begin with 1024 of them for each process: takes as many as may be
/// had. What cannot be changed stays as it is.
fn raise_limit_of_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

fn fail(error: &dyn Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// The first signal asks for a clean stop; the second ends the process at once.
async fn signals(stop: watch::Sender<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals: stop this process with SIGKILL");
        return;
    };
    for last in [false, true] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if last {
            std::process::exit(130);
        }
        tracing::info!("stopping (a second signal stops at once)");
        stop.send_replace(true);
    }
}
