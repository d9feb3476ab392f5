//! What the engine's threads share, and how they wait for each other.
//!
//! All of it comes from here, so that the same code can be run under a scheduler that tries interleavings: a unit test
//! that is built with `--cfg shuttle` gets the same things made of shuttle's, with a choice of who goes on at every
//! lock, swap and wait (see `interleavings.rs`). What is left out of that, and runs as one step: other atomics, and the
//! channels of tokio and queues of crossbeam, which have tests of their own.

#[cfg(not(all(test, shuttle)))]
pub(crate) use {
    arc_swap::ArcSwap,
    parking_lot::{Condvar, Mutex},
    std::{sync::atomic::AtomicBool, thread, thread_local},
};

#[cfg(all(test, shuttle))]
pub(crate) use self::tried::{ArcSwap, Condvar, Mutex};
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::{sync::atomic::AtomicBool, thread, thread_local};

#[cfg(all(test, shuttle))]
mod tried {
    use std::ops::{Deref, DerefMut};
    use std::sync::{Arc, PoisonError};

    use shuttle::sync;

    #[derive(Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    /// None only while its owner waits.
    pub(crate) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("not waiting")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("not waiting")
        }
    }

    #[derive(Default)]
    pub(crate) struct Condvar(sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let held = guard.0.take().expect("not waiting");
            guard.0 = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Each load and each store is one step, before which anybody else may go on.
    pub(crate) struct ArcSwap<T>(sync::Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(sync::Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            self.load_full()
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), value)
        }
    }
}
