//! The peer: an etcd of our own, on the same disk, written to by as many writers with the same bytes.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, CompareOp, KvClient, Txn, TxnOp};
use tokio::runtime::Runtime;

use crate::load::Round;
use crate::pods::{self, Pods};
use crate::{process, progress};

/// An etcd and those who write to it.
pub struct Peer {
    server: Server,
    /// As many as served etcd best.
    clients: Vec<KvClient>,
    known: Vec<Known>,
}

/// A writer's object: its key, its bytes, and the revision at which it is.
#[derive(Clone)]
struct Known {
    key: Vec<u8>,
    value: Vec<u8>,
    revision: i64,
}

impl Peer {
    /// Starts an etcd and tries with how many connections it is fastest.
    ///
    /// # Errors
    /// Why there is no peer.
    pub fn start(
        runtime: &Runtime,
        directory: &Path,
        pods: &Pods,
        writers: usize,
        time: Duration,
    ) -> Result<Self, String> {
        let server = Server::start(&directory.join("etcd"))?;
        let known = (0..writers).map(|writer| Known {
            key: format!("/registry/{}", pods::key(writer).path).into_bytes(),
            value: pods.pod(writer).tail().to_vec(),
            revision: 0,
        });
        let mut peer = Self { server, clients: Vec::new(), known: known.collect() };
        let mut best = (0.0, Vec::new());
        for connections in [1, 4, 16, 64] {
            peer.clients =
                (0..connections).map(|_| runtime.block_on(peer.server.connect())).collect::<Result<_, _>>()?;
            let rate = runtime.block_on(peer.round(time / 2)).per_second;
            progress(format!("etcd with {connections} connections: {rate:.0}/s"));
            if rate > best.0 {
                best = (rate, peer.clients.clone());
            }
        }
        peer.clients = best.1;
        Ok(peer)
    }

    /// All writers write for a time: each always the same key, at the revision it knows, and waits for each answer.
    pub async fn round(&mut self, time: Duration) -> Round {
        let (start, server, client) = (Instant::now(), process::cpu_of(self.server.pid), process::cpu());
        let until = start + time;
        let tasks: Vec<_> = self
            .known
            .iter()
            .zip(self.clients.iter().cycle())
            .map(|(known, client)| {
                let (mut known, mut client) = (known.clone(), client.clone());
                tokio::spawn(async move {
                    let mut writes = 0_u64;
                    while Instant::now() < until {
                        known.write(&mut client).await;
                        writes += 1;
                    }
                    (known, writes)
                })
            })
            .collect();
        let mut writes = 0.0;
        for (task, known) in tasks.into_iter().zip(&mut self.known) {
            let (now, done) = task.await.expect("runs");
            *known = now;
            writes += done as f64;
        }
        Round {
            per_second: writes / start.elapsed().as_secs_f64(),
            cpu_each: (process::cpu_of(self.server.pid) - server) * 1e6 / writes,
            client_cpu_each: (process::cpu() - client) * 1e6 / writes,
        }
    }

    pub fn about(&self) -> String {
        format!("etcd {}, {} connections", self.server.version, self.clients.len())
    }
}

impl Known {
    async fn write(&mut self, client: &mut KvClient) {
        let unchanged = Compare::mod_revision(self.key.as_slice(), CompareOp::Equal, self.revision);
        let put = TxnOp::put(self.key.as_slice(), self.value.as_slice(), None);
        let answer = client.txn(Txn::new().when([unchanged]).and_then([put])).await.expect("etcd answers");
        assert!(answer.succeeded(), "nobody else writes this key");
        self.revision = answer.header().expect("a header").revision();
    }
}

/// A running etcd. Its shell waits for the end of its input, which comes when this is dropped and also when this
/// process dies in whatever way, and then stops it.
struct Server {
    shell: Child,
    pid: u32,
    endpoint: String,
    version: String,
}

const SHELL: &str = r#""$@" >&2 & echo $!; read -r end; kill -9 $!; wait"#;

impl Server {
    fn start(directory: &Path) -> Result<Self, String> {
        let program = std::env::var_os("ETCD").unwrap_or_else(|| "etcd".into());
        let version = Command::new(&program).arg("--version").output().map_err(|error| format!("etcd: {error}"))?;
        let version = String::from_utf8_lossy(&version.stdout);
        let version = version.lines().next().unwrap_or_default().trim_start_matches("etcd Version: ").to_owned();
        let free = || -> std::io::Result<String> {
            Ok(format!("http://{}", TcpListener::bind(("127.0.0.1", 0))?.local_addr()?))
        };
        let (endpoint, peers) =
            free().and_then(|endpoint| Ok((endpoint, free()?))).map_err(|error| error.to_string())?;
        let mut shell = Command::new("sh")
            .args(["-c", SHELL, "sh"])
            .arg(program)
            .args(["--name", "bench", "--log-level", "error", "--quota-backend-bytes", "8589934592"])
            .arg("--data-dir")
            .arg(directory)
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .arg(format!("--initial-cluster=bench={peers}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        let mut line = String::new();
        let read = shell.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        let pid = line.trim().parse().map_err(|_| format!("etcd did not start: {read:?}"))?;
        Ok(Self { shell, pid, endpoint, version })
    }

    async fn connect(&self) -> Result<KvClient, String> {
        let mut tries = 0;
        loop {
            let answer = match Client::connect([&self.endpoint], None).await {
                Ok(mut client) => client.status().await.map(|_| client.kv_client()),
                Err(error) => Err(error),
            };
            match answer {
                Ok(client) => return Ok(client),
                Err(error) if tries == 50 => return Err(format!("etcd {}: {error}", self.version)),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait(); // nothing is left to do if it is gone
    }
}
