//! Where tenants live when there is one partition and one resource manager.

use std::sync::Arc;

use arktos_core::{Object, Status};
use async_trait::async_trait;

use super::{Backend, Backends, Directory};

/// The directory of a region with one partition and one resource manager.
pub struct OneOfEach(Arc<Backends>);

impl OneOfEach {
    /// A directory that knows these two.
    #[must_use]
    pub fn new(partition: Backend, manager: Backend) -> Self {
        let partitions = vec![("partition".into(), partition)];
        Self(Arc::new(Backends { partitions, managers: vec![manager], directory: None }))
    }
}

#[async_trait]
impl Directory for OneOfEach {
    fn backends(&self) -> Arc<Backends> {
        self.0.clone()
    }

    fn find(&self, _: &str) -> Option<String> {
        Some("partition".to_owned())
    }

    async fn expect(&self, _: &Object) -> Result<String, Status> {
        Ok("partition".to_owned())
    }
}
