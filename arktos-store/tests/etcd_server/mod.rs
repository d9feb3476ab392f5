//! etcd of one's own, on loopback: one server, or a cluster of three.
#![allow(dead_code)] // not all of it by every test

pub mod engines;
pub mod pki;
pub mod proxy;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use pki::Pki;

/// One server, ended when it is dropped.
pub struct EtcdServer(EtcdCluster);

/// Servers that make one store, ended when they are dropped.
pub struct EtcdCluster {
    members: Vec<Member>,
    directory: tempfile::TempDir,
    pki: Option<Pki>,
    more: Vec<String>,
}

struct Member {
    client: u16,
    peer: u16,
    child: Option<Child>,
}

impl EtcdServer {
    /// Starts a server. `None`, with a message, when there is no etcd on this machine.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same, with more flags.
    pub fn start_with(more: &[&str]) -> Option<Self> {
        EtcdCluster::launch(1, None, more).map(Self)
    }

    /// The URL that clients use.
    pub fn url(&self) -> String {
        self.0.urls()[0].clone()
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &std::path::Path {
        self.0.directory.path()
    }

    /// Kills the server and starts it again over the same data.
    pub fn restart(&mut self) {
        self.kill();
        self.0.revive(0);
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.0.kill(0);
    }

    /// Kills the server and starts an empty one in its place: one that was put back to before everything.
    pub fn put_back(&mut self) {
        self.kill();
        let data = self.0.directory.path().join("member-0");
        std::fs::remove_dir_all(data).expect("is there");
        self.0.revive(0);
    }
}

impl EtcdCluster {
    /// Starts three members. `None`, with a message, when there is no etcd on this machine.
    pub fn start() -> Option<Self> {
        Self::launch(3, None, &[])
    }

    /// The same, with certificates on both sides, and more flags.
    pub fn start_secure(pki: Pki, more: &[&str]) -> Option<Self> {
        Self::launch(3, Some(pki), more)
    }

    fn launch(members: usize, pki: Option<Pki>, more: &[&str]) -> Option<Self> {
        if let Err(error) = Command::new("etcd").arg("--version").stdout(Stdio::null()).status() {
            println!("skipped: there is no etcd to test with ({error}); install Debian's etcd-server");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let listeners: Vec<TcpListener> =
            (0..members * 2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let ports: Vec<u16> = listeners.iter().map(|it| it.local_addr().expect("an address").port()).collect();
        drop(listeners);
        let members = ports.chunks(2).map(|pair| Member { client: pair[0], peer: pair[1], child: None }).collect();
        if let Some(pki) = &pki {
            pki.write(directory.path());
        }
        let more = more.iter().map(|&flag| flag.to_owned()).collect();
        let mut cluster = Self { members, directory, pki, more };
        cluster.revive_all();
        Some(cluster)
    }

    /// The URLs that clients use.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        self.members.iter().map(|member| format!("{scheme}://127.0.0.1:{}", member.client)).collect()
    }

    /// Kills a member, as `kill -9` does.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts a member again over its data.
    pub fn revive(&mut self, member: usize) {
        let child = self.spawn(member);
        self.members[member].child = Some(ready(child));
    }

    /// Starts all members that do not run. They wait for each other.
    pub fn revive_all(&mut self) {
        let down: Vec<usize> = (0..self.members.len()).filter(|&it| self.members[it].child.is_none()).collect();
        let children: Vec<Child> = down.iter().map(|&member| self.spawn(member)).collect();
        for (member, child) in down.into_iter().zip(children) {
            self.members[member].child = Some(ready(child));
        }
    }

    /// Lets a member stand still, or go on: it accepts connections all the while and answers nothing.
    pub fn signal(&self, member: usize, signal: &str) {
        let child = self.members[member].child.as_ref().expect("it runs");
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// The member that leads.
    pub async fn leader(&self) -> usize {
        for (member, url) in self.urls().into_iter().enumerate() {
            let Ok(mut client) = etcd_client::Client::connect([url], None).await else { continue };
            let Ok(status) = client.status().await else { continue };
            if status.header().is_some_and(|header| header.member_id() == status.leader()) {
                return member;
            }
        }
        panic!("nobody leads");
    }

    fn spawn(&self, member: usize) -> Child {
        let peers: Vec<String> =
            self.members.iter().map(|it| format!("m{}=http://127.0.0.1:{}", it.peer, it.peer)).collect();
        let peer = format!("http://127.0.0.1:{}", self.members[member].peer);
        let url = self.urls()[member].clone();
        let mut command = Command::new("etcd");
        command
            .args(["--name", &format!("m{}", self.members[member].peer), "--initial-cluster", &peers.join(",")])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url, "--logger", "zap"])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--data-dir"])
            .arg(self.directory.path().join(format!("member-{member}")))
            .args(&self.more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if self.pki.is_some() {
            let file = |name: &str| self.directory.path().join(name);
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(file("ca.crt"));
            command.arg("--cert-file").arg(file("server.crt")).arg("--key-file").arg(file("server.key"));
        }
        command.spawn().expect("etcd runs")
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|member| self.kill(member));
    }
}

/// Waits until a server serves.
fn ready(mut child: Child) -> Child {
    let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines();
    let serving = ["client traffic", "client requests"];
    let ready = lines.by_ref().map_while(Result::ok).any(|line| serving.iter().any(|serving| line.contains(serving)));
    assert!(ready, "etcd did not start");
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop)); // so that it never waits for us
    child
}
