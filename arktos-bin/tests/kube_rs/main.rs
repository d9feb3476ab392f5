//! kube-rs, unmodified, against the real program over TLS, as a user of a tenant: what its own examples show, each with
//! what a reader of the example would want to be sure of.

mod controller;
mod custom;
mod election;
mod objects;
#[path = "../process/mod.rs"]
mod process;
mod reflectors;

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use process::PATIENCE;
use process::world::World;

/// A region with a tenant, over a store that survives.
fn world() -> World {
    World::start(&["--tenants=acme", "--hosts=2"])
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(test);
}

/// The tenant's administrator, as its kubeconfig says.
async fn client(world: &World) -> Client {
    let config = Kubeconfig::read_from(world.region.kubeconfig(Some("acme"))).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.expect("usable");
    assert_eq!(config.cluster_url.scheme_str(), Some("https"));
    Client::try_from(config).expect("a client")
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

fn map(name: &str) -> ConfigMap {
    let labels = Some([("seen".to_owned(), "yes".to_owned())].into());
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels, ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

async fn make(client: &Client, name: &str) -> ConfigMap {
    maps(client).create(&PostParams::default(), &map(name)).await.expect("created")
}

/// Asks until there is an answer.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what} never came"))
}

/// What the server says of a request that it must refuse.
fn refusal<T: std::fmt::Debug>(answer: kube::Result<T>) -> Box<kube::core::Status> {
    match answer {
        Err(kube::Error::Api(status)) => status,
        other => panic!("it was to be refused: {other:?}"),
    }
}
