//! The backends there are, as tests open them.
#![allow(dead_code)] // each test uses its own part

use std::sync::Arc;

use arktos_store::conformance::{Backend, Keeps, Opened};
use arktos_store::storage::OpenError;
use arktos_store::{Clock, Engine, EngineConfig};

pub struct Memory;

#[async_trait::async_trait]
impl Backend for Memory {
    fn keeps(&self) -> Keeps {
        Keeps::Nothing
    }

    async fn open(&self, config: EngineConfig, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
        Ok(Opened::new(Engine::memory_with(config, clock)))
    }
}

#[cfg(feature = "log")]
pub struct Log(pub tempfile::TempDir);

#[cfg(feature = "log")]
#[async_trait::async_trait]
impl Backend for Log {
    fn keeps(&self) -> Keeps {
        Keeps::History
    }

    async fn open(&self, config: EngineConfig, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
        let journal = arktos_store::log::LogJournal::open(self.0.path(), Default::default())?;
        Ok(Opened::new(Engine::open(Box::new(journal), config, clock)?))
    }
}

#[cfg(feature = "sled")]
pub struct Sled(pub tempfile::TempDir);

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

#[cfg(feature = "etcd")]
pub struct Etcd(pub crate::etcd_server::EtcdServer);

#[cfg(feature = "etcd")]
#[async_trait::async_trait]
impl Backend for Etcd {
    fn keeps(&self) -> Keeps {
        Keeps::History
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn open(&self, config: EngineConfig, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
        let options = arktos_store::etcd::EtcdOptions::new([self.0.url()]);
        let storage = arktos_store::etcd::Etcd::connect(&options, clock.clone()).await?;
        let (engine, feed) = Engine::shared(Arc::new(storage), config, clock).await?;
        Ok(Opened::new(engine).running(feed))
    }
}
