//! Every backend keeps what the engine promises.

mod backends;
#[cfg(feature = "etcd")]
mod etcd_server;

use arktos_store::conformance::run;

#[tokio::test]
async fn memory() {
    run(&backends::Memory).await.expect("memory keeps what the engine promises");
}

#[cfg(feature = "log")]
#[tokio::test]
async fn log() {
    let backend = backends::Log(tempfile::tempdir().expect("a directory"));
    run(&backend).await.expect("the log keeps what the engine promises");
}

#[cfg(feature = "sled")]
#[tokio::test]
async fn sled() {
    let backend = backends::Sled(tempfile::tempdir().expect("a directory"));
    run(&backend).await.expect("sled keeps what the engine promises");
}

#[cfg(feature = "etcd")]
#[tokio::test]
async fn etcd() {
    let Some(server) = etcd_server::EtcdServer::start() else { return };
    run(&backends::Etcd(server)).await.expect("etcd keeps what the engine promises");
}
