//! An etcd of one's own, on loopback.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A server, ended when it is dropped.
pub struct EtcdServer {
    child: Child,
    client: u16,
    peer: u16,
    directory: tempfile::TempDir,
}

impl EtcdServer {
    /// Starts a server. `None`, with a message, when there is no etcd on this machine.
    pub fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let (client, peer) = (free_port(), free_port());
        match launch(client, peer, &directory) {
            Ok(child) => Some(Self { child, client, peer, directory }),
            Err(error) => {
                println!("skipped: there is no etcd to test with ({error}); install Debian's etcd-server");
                None
            }
        }
    }

    /// The URL that clients use.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    /// Kills the server and starts it again over the same data.
    #[allow(dead_code)] // not by every test
    pub fn restart(&mut self) {
        self.kill();
        self.child = launch(self.client, self.peer, &self.directory).expect("it started before");
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(client: u16, peer: u16, directory: &tempfile::TempDir) -> std::io::Result<Child> {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let mut child = Command::new("etcd")
        .args(["--name", "one", "--initial-cluster", &format!("one={peer}"), "--logger", "zap"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .arg("--data-dir")
        .arg(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines();
    let ready = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| ["client traffic", "client requests"].iter().any(|serving| line.contains(serving)));
    assert!(ready, "etcd did not start");
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop)); // so that it never waits for us
    Ok(child)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
