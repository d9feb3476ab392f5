//! In place of the etcd beside ours, where its client could not be built.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::load::Round;
use crate::pods::Pods;

/// Nobody.
pub enum Peer {}

impl Peer {
    pub fn start(_: &Runtime, _: &Path, _: &Pods, _: usize, _: Duration) -> Result<Self, String> {
        Err("built without the feature bench-etcd, for which protoc is needed".to_owned())
    }

    pub async fn round(&mut self, _: Duration) -> Round {
        match *self {}
    }

    pub fn about(&self) -> String {
        match *self {}
    }
}
