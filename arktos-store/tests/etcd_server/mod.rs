//! etcd of one's own, on loopback: one server, or a cluster of three.
#![allow(dead_code)] // not all of it by every test

mod cluster;
pub mod engines;
pub mod pki;
pub mod proxy;

pub use cluster::EtcdCluster;
use pki::Pki;

/// One server, ended when it is dropped.
pub struct EtcdServer(EtcdCluster);

impl EtcdServer {
    /// Starts a server. `None`, with a message, when there is no etcd on this machine.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same, with more flags.
    pub fn start_with(more: &[&str]) -> Option<Self> {
        let more = more.iter().map(|&flag| flag.to_owned()).collect();
        EtcdCluster::launch(1, tempfile::tempdir().expect("a directory"), "http", more).map(Self)
    }

    /// The URL that clients use.
    pub fn url(&self) -> String {
        self.0.urls()[0].clone()
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &std::path::Path {
        self.0.directory()
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
        let data = self.0.directory().join("member-0");
        std::fs::remove_dir_all(data).expect("is there");
        self.0.revive(0);
    }
}

impl EtcdCluster {
    /// Starts three members with certificates on both sides, and more flags.
    pub fn start_secure(pki: Pki, more: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        pki.write(directory.path());
        let mut flags = vec!["--client-cert-auth".to_owned()];
        for (flag, name) in
            [("--trusted-ca-file", "ca.crt"), ("--cert-file", "server.crt"), ("--key-file", "server.key")]
        {
            flags.push(format!("{flag}={}", directory.path().join(name).display()));
        }
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
        Self::launch(3, directory, "https", flags)
    }

    /// The member that leads.
    pub async fn leader(&self) -> usize {
        self.leads().await.0
    }

    /// The member that leads, and since which election. There may be none for a moment.
    pub async fn leads(&self) -> (usize, u64) {
        for _ in 0..600 {
            for (member, url) in self.urls().into_iter().enumerate() {
                let Ok(mut client) = etcd_client::Client::connect([url], None).await else { continue };
                let Ok(status) = client.status().await else { continue };
                if status.header().is_some_and(|header| header.member_id() == status.leader()) {
                    return (member, status.raft_term());
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("nobody leads");
    }
}
