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

#[cfg(feature = "sled")]
struct Sled(tempfile::TempDir);

#[cfg(feature = "sled")]
#[async_trait::async_trait]
impl Backend for Sled {
    fn keeps(&self) -> Keeps {
        Keeps::History
    }

    async fn open(&self, config: EngineConfig, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
        let journal = arktos_store::sled::SledJournal::open(self.0.path(), &Default::default())?;
        Ok(Opened::new(Engine::open(Box::new(journal), config, clock)?))
    }
}

#[cfg(feature = "sled")]
#[tokio::test]
async fn sled() {
    let backend = Sled(tempfile::tempdir().expect("a directory"));
    run(&backend).await.expect("sled keeps what the engine promises");
}

#[tokio::test]
async fn memory() {
    run(&Memory).await.expect("memory keeps what the engine promises");
}
