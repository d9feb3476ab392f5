//! The verbs, on (identity, place, object): HTTP and the in-process client share them.

pub(crate) mod clear;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod delete;
mod elsewhere;
pub(crate) mod evict;
pub(crate) mod managers;
pub(crate) mod modify;
pub(crate) mod node_view;
mod owners;
pub(crate) mod patch;
pub(crate) mod read;
pub(crate) mod scale;
pub(crate) mod settle;
pub(crate) mod subresource;
mod unreadable;
pub(crate) mod watch;
