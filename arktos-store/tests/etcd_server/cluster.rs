//! Members of etcd as processes on loopback.
#![allow(dead_code)] // not all of it by every test

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Servers that make one store, ended when they are dropped.
pub struct EtcdCluster {
    members: Vec<Member>,
    directory: tempfile::TempDir,
    scheme: &'static str,
    more: Vec<String>,
}

struct Member {
    client: u16,
    peer: u16,
    child: Option<Child>,
}

impl EtcdCluster {
    /// Starts three members. `None`, with a message, when there is no etcd on this machine.
    pub fn start() -> Option<Self> {
        Self::launch(3, tempfile::tempdir().expect("a directory"), "http", Vec::new())
    }

    /// Starts members that keep their data in a directory and serve clients by a scheme, with more flags.
    pub fn launch(
        members: usize,
        directory: tempfile::TempDir,
        scheme: &'static str,
        more: Vec<String>,
    ) -> Option<Self> {
        if let Err(error) = Command::new("etcd").arg("--version").stdout(Stdio::null()).status() {
            println!("skipped: there is no etcd to test with ({error}); install Debian's etcd-server");
            return None;
        }
        let mut cluster = Self { members: Vec::new(), directory, scheme, more };
        for _ in 0..20 {
            cluster.members = on_free_ports(members);
            if cluster.try_revive_all() {
                return Some(cluster);
            }
            // Somebody else was given one of the ports meanwhile: all begins anew, with others.
            for member in 0..members {
                cluster.kill(member);
                let _ = std::fs::remove_dir_all(cluster.data(member));
            }
        }
        panic!("etcd did not start");
    }

    /// Where the members keep their files.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// The URLs that clients use.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("{}://127.0.0.1:{}", self.scheme, member.client)).collect()
    }

    /// Kills a member, as `kill -9` does.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts a member again over its data. Somebody else may have its ports for a moment.
    pub fn revive(&mut self, member: usize) {
        self.members[member].child = None;
        self.revive_all();
    }

    /// Starts all members that do not run. They wait for each other.
    pub fn revive_all(&mut self) {
        for _ in 0..100 {
            if self.try_revive_all() {
                return;
            }
            #[allow(clippy::disallowed_methods)] // other processes have no clock that could be stepped
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("etcd did not start");
    }

    /// The same, and says whether all of them serve.
    fn try_revive_all(&mut self) -> bool {
        let down: Vec<usize> = (0..self.members.len()).filter(|&it| self.members[it].child.is_none()).collect();
        let children: Vec<Child> = down.iter().map(|&member| self.spawn(member)).collect();
        for (member, child) in down.into_iter().zip(children) {
            self.members[member].child = ready(child);
        }
        self.members.iter().all(|member| member.child.is_some())
    }

    fn data(&self, member: usize) -> PathBuf {
        self.directory.path().join(format!("member-{member}"))
    }

    /// Lets a member stand still, or go on: it accepts connections all the while and answers nothing.
    pub fn signal(&self, member: usize, signal: &str) {
        let child = self.members[member].child.as_ref().expect("it runs");
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    fn spawn(&self, member: usize) -> Child {
        let peers: Vec<String> =
            self.members.iter().map(|it| format!("m{}=http://127.0.0.1:{}", it.peer, it.peer)).collect();
        let peer = format!("http://127.0.0.1:{}", self.members[member].peer);
        let url = self.urls()[member].clone();
        Command::new("etcd")
            .args(["--name", &format!("m{}", self.members[member].peer), "--initial-cluster", &peers.join(",")])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url, "--logger", "zap"])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--data-dir"])
            .arg(self.data(member))
            .args(&self.more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcd runs")
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|member| self.kill(member));
    }
}

fn on_free_ports(members: usize) -> Vec<Member> {
    let listeners: Vec<TcpListener> =
        (0..members * 2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let ports: Vec<u16> = listeners.iter().map(|it| it.local_addr().expect("an address").port()).collect();
    ports.chunks(2).map(|pair| Member { client: pair[0], peer: pair[1], child: None }).collect()
}

/// Waits until a server serves; none when it ends instead.
fn ready(mut child: Child) -> Option<Child> {
    let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines();
    let serving = ["client traffic", "client requests"];
    let ready = lines.by_ref().map_while(Result::ok).any(|line| serving.iter().any(|serving| line.contains(serving)));
    if !ready {
        let _ = child.kill();
        let _ = child.wait();
        return None;
    }
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop)); // so that it never waits for us
    Some(child)
}
