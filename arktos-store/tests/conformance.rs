//! Every backend keeps what the engine promises.

#[cfg(feature = "etcd")]
mod etcd_server;

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

#[cfg(feature = "log")]
struct Log(tempfile::TempDir);

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

#[cfg(feature = "log")]
#[tokio::test]
async fn log() {
    let backend = Log(tempfile::tempdir().expect("a directory"));
    run(&backend).await.expect("the log keeps what the engine promises");
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

#[cfg(feature = "etcd")]
struct Etcd(etcd_server::EtcdServer);

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

#[cfg(feature = "etcd")]
#[tokio::test]
async fn etcd() {
    let Some(server) = etcd_server::EtcdServer::start() else { return };
    run(&Etcd(server)).await.expect("etcd keeps what the engine promises");
}

#[tokio::test]
async fn memory() {
    run(&Memory).await.expect("memory keeps what the engine promises");
}
