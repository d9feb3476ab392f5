//! placeholder
#![deny(missing_docs)]
pub mod ask;
pub mod builtin;
pub mod claim;
pub mod class;
pub mod hosts;
pub mod intern;
pub mod plugin;
pub mod pool;
pub mod ports;
pub mod queue;
pub mod resources;
pub mod scheduler;
pub mod selector;
pub mod set;
#[cfg(test)]
mod testing;
pub mod tree;
pub use pool::Pool;
pub use scheduler::{Options, Scheduler};
