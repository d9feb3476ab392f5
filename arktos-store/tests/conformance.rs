//! Every backend keeps what the engine promises.

use std::sync::Arc;

use arktos_store::conformance::{Backend, Keeps, Opened, run};
use arktos_store::storage::OpenError;
use arktos_store::{Clock, Engine, EngineConfig};

struct Memory;

#[async_trait::async_trait]
impl Backend for Memory {
    fn keeps(&self) -> Keeps {
        Keeps::Nothing
    }

    async fn open(&self, config: EngineConfig, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
        Ok(Opened::new(Engine::memory_with(config, clock)))
    }
}

#[tokio::test]
async fn memory() {
    run(&Memory).await.expect("memory keeps what the engine promises");
}
