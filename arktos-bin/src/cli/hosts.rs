//! `arktos-hosts`: hollow hosts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arktos_control::directory::Contact;
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, ObjectKey, ObjectPath, Reason};
use arktos_store::{Client, Clock, Random, Tasks};
use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::watch;

use super::directory::server_url;
use super::logging::LoggingArgs;
use super::serving::{Peer, bind, duration};
use crate::edge::{SystemClock, SystemRandom};
use crate::hollow::{self, HollowOptions};
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::net::address;
use crate::net::kubeconfig::Kubeconfig;
use crate::net::remote::Remote;
use crate::net::route::Trust;
use crate::net::serve::{Stop, serve, stopped};
use crate::net::tls::Shown;

/// Run hollow hosts: simulated node agents that register at a resource manager, send heartbeats, and report the pods
/// placed on them as running.
#[derive(Debug, Clone, Args)]
pub struct HostsArgs {
    /// The resource manager to which the hosts belong
    #[arg(long, value_name = "NAME=KUBECONFIG")]
    pub resource_manager: Peer,
    /// The URLs of the resource manager's processes, if there are several: the hosts use whichever answers, instead of
    /// the server in the kubeconfig
    #[arg(long = "server", value_name = "URL", value_delimiter = ',', value_parser = server_url)]
    pub servers: Vec<String>,
    /// How many hosts to simulate
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub hosts: usize,
    /// Prefix of the hosts' names
    #[arg(long, value_name = "PREFIX", default_value = "hollow")]
    pub prefix: String,
    /// Number of the first host, so that several processes can share a prefix
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub first: usize,
    /// CPU cores of each host
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub cpu: u64,
    /// Memory of each host, in GiB
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub memory_gib: u64,
    /// How long a pod takes from being placed to running
    #[arg(long, value_name = "DURATION", default_value = "0.1s", value_parser = duration)]
    pub start_delay: Duration,
    /// Address and port for plain HTTP, with nothing but `/metrics` and how the process is doing; off when not given
    #[arg(long, value_name = "ADDR", value_parser = address::resolve)]
    pub metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    logging: LoggingArgs,
}

/// How often it is asked whether the resource manager answers.
const ASKED_EVERY: Duration = Duration::from_secs(5);

/// How many hosts share one connection. Each keeps a stream of it for its watch, servers allow a thousand, and
/// heartbeats and reports need some, too.
const HOSTS_PER_CONNECTION: usize = 250;

/// The same hosts, as many at a time as share a connection.
fn chunks(options: &HollowOptions) -> impl Iterator<Item = HollowOptions> {
    (0..options.count).step_by(HOSTS_PER_CONNECTION).map(|begin| HollowOptions {
        first: options.first + begin,
        count: HOSTS_PER_CONNECTION.min(options.count - begin),
        ..options.clone()
    })
}

/// A connection to a resource manager: to its one server, or to whichever of several answers.
fn connection(
    name: &str,
    config: &Kubeconfig,
    shown: Option<Arc<Shown>>,
    servers: &[String],
) -> Result<Remote, String> {
    if servers.is_empty() {
        return Remote::showing(config, shown, Catalog::builtin()).map_err(|error| error.to_string());
    }
    let shown = shown.ok_or("--server needs a kubeconfig with a client certificate")?;
    let contact = Contact { name: name.to_owned(), servers: servers.to_vec(), ca_bundle: String::new() };
    let trust = Trust { shown, authority: config.authority.clone() };
    Ok(Remote::member(watch::channel(contact).1, &trust, Catalog::builtin()))
}

/// Says when the resource manager is not reached, and when it is again: once for all hosts, which try on in silence.
async fn watched(client: Remote, manager: String, host: String, clock: Arc<dyn Clock>, answers: Arc<AtomicBool>) {
    let node = ObjectKey { resource: GroupResource::core("nodes"), path: ObjectPath::new("", "", &host) };
    let mut silent = false;
    loop {
        let refused = client.get(&node).await.err().filter(|status| !status.is(Reason::NotFound));
        match (&refused, silent) {
            (Some(status), false) => {
                tracing::warn!(manager, %status, "the hosts cannot speak to their resource manager");
            }
            (None, true) => tracing::info!(manager, "the hosts speak to their resource manager again"),
            _ => {}
        }
        silent = refused.is_some();
        answers.store(!silent, Ordering::Relaxed);
        clock.sleep(ASKED_EVERY).await;
    }
}

/// What a process of hosts says of itself. It is ready while its resource manager answers.
fn said(path: &str, metrics: &Metrics, answers: bool) -> Response<Full<Bytes>> {
    let (code, text) = match path {
        "/metrics" => (StatusCode::OK, metrics.text()),
        "/readyz" | "/healthz" if !answers => {
            let text = "the resource manager does not answer\n".to_owned();
            (StatusCode::INTERNAL_SERVER_ERROR, text)
        }
        "/readyz" | "/healthz" | "/livez" => (StatusCode::OK, "ok".to_owned()),
        _ => (StatusCode::NOT_FOUND, "here are /metrics, /readyz and /livez\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = code;
    let format = if path == "/metrics" { CONTENT_TYPE } else { "text/plain; charset=utf-8" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format));
    response
}

/// Runs hollow hosts until told to stop.
///
/// # Errors
/// A sentence that says what is wrong and what to do.
pub async fn hosts(args: HostsArgs, mut stop: Stop) -> Result<(), String> {
    args.logging.start("hosts", &args.prefix)?;
    let options = HollowOptions {
        count: args.hosts,
        prefix: args.prefix,
        first: args.first,
        cpu_cores: args.cpu,
        memory_gib: args.memory_gib,
        start_delay: args.start_delay,
        ..HollowOptions::default()
    };
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
    let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
    let name = args.resource_manager.name.clone();
    let (config, shown) = args.resource_manager.followed(&tasks)?;
    let (manager, first) = (name.clone(), format!("{}-{}", options.prefix, options.first));
    let client = connection(&name, &config, shown.clone(), &args.servers)?;
    let answers = Arc::new(AtomicBool::new(false));
    if let Some(address) = args.metrics_listen {
        let (listener, metrics) = (bind(address).await?, Metrics::new());
        metrics.hosts(&name, options.count, answers.clone());
        if let Some(shown) = shown.clone() {
            metrics.certificate("client", move || shown.ends());
        }
        let at = listener.local_addr().map_err(|error| error.to_string())?;
        println!("Plain HTTP, metrics alone: http://{at}/metrics");
        let answers = answers.clone();
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let said = said(request.uri().path(), &metrics, answers.load(Ordering::Relaxed));
            async move { Ok::<_, Infallible>(said) }
        });
        tasks.add("metrics", serve(listener, None, service, stop.clone()));
    }
    tasks.add("resource manager", watched(client, manager, first, clock.clone(), answers));
    for some in chunks(&options) {
        let client = connection(&name, &config, shown.clone(), &args.servers)?;
        for (host, future) in hollow::hosts(&some, &(Arc::new(client) as Arc<dyn Client>), &clock, &random) {
            tasks.add(host, future);
        }
    }
    println!("{} hollow hosts start for the resource manager {name}", options.count);
    stopped(&mut stop).await;
    tasks.stop().await;
    tracing::info!("stopped");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_hosts_is_ready_while_its_resource_manager_answers() {
        let metrics = Metrics::new();
        metrics.hosts("rm-1", 3, Arc::default());
        for (path, answers, code) in [
            ("/metrics", false, 200),
            ("/livez", false, 200),
            ("/readyz", false, 500),
            ("/readyz", true, 200),
            ("/api", true, 404),
        ] {
            assert_eq!(said(path, &metrics, answers).status().as_u16(), code, "{path}");
        }
    }

    #[test]
    fn hosts_of_all_connections_are_all_hosts_once() {
        let options = HollowOptions { count: 1001, first: 7, ..HollowOptions::default() };
        let all: Vec<usize> = chunks(&options).flat_map(|some| some.first..some.first + some.count).collect();
        assert_eq!(all, (7..1008).collect::<Vec<_>>());
        assert!(chunks(&options).all(|some| some.count <= HOSTS_PER_CONNECTION));
    }
}
