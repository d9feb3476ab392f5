//! etcd, as it is: real servers on loopback, killed, stopped, cut off and compacted. Skipped, with a message, where
//! there is no etcd.
#![cfg(feature = "etcd")]

mod access;
mod cluster;
#[path = "../etcd_server/mod.rs"]
mod etcd_server;
mod history;
mod network;
mod one;
