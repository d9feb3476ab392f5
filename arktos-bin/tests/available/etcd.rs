//! An etcd cluster of three members, on loopback.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Three members that make one store. Dropping it kills them.
pub struct Etcd {
    members: Vec<Member>,
    directory: PathBuf,
}

struct Member {
    client: String,
    peer: String,
    process: Option<Child>,
}

impl Etcd {
    /// Starts three members that keep their data below a directory. `None`, with a message, where there is no etcd.
    pub fn start(directory: PathBuf) -> Option<Self> {
        if let Err(error) = Command::new("etcd").arg("--version").stdout(Stdio::null()).status() {
            println!("skipped: there is no etcd to test with ({error}); install Debian's etcd-server");
            return None;
        }
        let sockets: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let urls: Vec<String> =
            sockets.iter().map(|it| format!("http://{}", it.local_addr().expect("an address"))).collect();
        drop(sockets);
        let member = |pair: &[String]| Member { client: pair[0].clone(), peer: pair[1].clone(), process: None };
        let mut etcd = Self { members: urls.chunks(2).map(member).collect(), directory };
        let started: Vec<Child> = (0..3).map(|member| etcd.spawn(member)).collect(); // they wait for each other
        for (member, child) in started.into_iter().enumerate() {
            etcd.members[member].process = Some(ready(child));
        }
        Some(etcd)
    }

    /// What `--store` is told, by a process that asks this member first.
    pub fn store(&self, first: usize) -> String {
        let mut urls: Vec<&str> = self.members.iter().map(|it| it.client.as_str()).collect();
        let count = urls.len();
        urls.rotate_left(first % count);
        format!("etcd:{}", urls.join(","))
    }

    /// Kills a member without a word.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut process) = self.members[member].process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts a member over what it had, and waits until it serves.
    pub fn revive(&mut self, member: usize) {
        let child = self.spawn(member);
        self.members[member].process = Some(ready(child));
    }

    fn spawn(&self, member: usize) -> Child {
        let all: Vec<String> = self.members.iter().enumerate().map(|(at, it)| format!("m{at}={}", it.peer)).collect();
        let Member { client, peer, .. } = &self.members[member];
        Command::new("etcd")
            .args(["--name", &format!("m{member}"), "--initial-cluster", &all.join(","), "--logger", "zap"])
            .args(["--listen-client-urls", client, "--advertise-client-urls", client])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--data-dir"])
            .arg(self.directory.join(format!("member-{member}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcd runs")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|member| self.kill(member));
    }
}

/// Waits until a member serves.
fn ready(mut child: Child) -> Child {
    let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines();
    let serving = |line: &String| ["client traffic", "client requests"].iter().any(|word| line.contains(word));
    assert!(lines.by_ref().map_while(Result::ok).any(|line| serving(&line)), "etcd did not start");
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop)); // so that it never waits for us
    child
}
