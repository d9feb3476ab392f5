//! A region of separate processes, which find each other through a directory.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;

use super::http::Caller;
use super::world::TOKENS;
use super::{PATIENCE, TAKEN, pause};

/// A running role. Dropping it kills it.
pub struct Process {
    process: Child,
    /// Where it serves; nowhere, for hosts.
    pub address: Option<SocketAddr>,
    /// Where it serves plain HTTP, if it does.
    pub insecure: Option<SocketAddr>,
    /// What it has said on standard error.
    pub said: Arc<Mutex<String>>,
    /// Reads that.
    reads: Option<JoinHandle<()>>,
}

impl Process {
    /// Kills it without a word.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to stop, waits until it has, and gives back all it said on standard error.
    #[allow(clippy::disallowed_methods)] // other processes have no clock that could be stepped
    pub fn stop(mut self) -> String {
        let stopped = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
        assert!(stopped.expect("kill runs").success());
        let deadline = Instant::now() + PATIENCE;
        while self.runs() {
            assert!(Instant::now() < deadline, "it did not stop on SIGTERM");
            pause();
        }
        if let Some(reads) = self.reads.take() {
            let _ = reads.join();
        }
        self.said.lock().clone()
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.try_wait().expect("it can be waited for").is_none()
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where the roles of a region keep what they need, and how they find each other.
pub struct Place {
    /// Everything is below it.
    pub directory: tempfile::TempDir,
    /// Where the region's directory serves.
    pub found_at: String,
}

impl Place {
    /// A place with an authority and tokens, and nothing that runs.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("tokens.csv"), TOKENS).expect("written");
        let place = Self { directory, found_at: String::new() };
        place.component("aggregator", "https://127.0.0.1:1"); // makes the authority, before several would
        place
    }

    /// A path below it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a kubeconfig by which a role is reached as a component, and gives back `NAME=PATH`.
    pub fn component(&self, name: &str, server: &str) -> String {
        let pki = self.path("pki");
        let output = Command::new(env!("CARGO_BIN_EXE_arktos"))
            .args(["kubeconfig", "--component", "--user", &format!("arktos:{name}"), "--server", server, "--pki-dir"])
            .arg(&pki)
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = self.path(&format!("{name}.kubeconfig"));
        std::fs::write(&path, output.stdout).expect("written");
        format!("{name}={}", path.display())
    }

    /// Starts a role with a store of its own.
    pub fn keeper(&self, role: &str, name: &str, more: &[&str]) -> Process {
        let data = self.path(name);
        let usual = ["--name", name, "--data-dir", text(&data)];
        self.serve(role, &[&usual, more].concat())
    }

    /// Starts a role with a store of its own that is part of the region.
    pub fn member(&self, role: &str, name: &str, more: &[&str]) -> Process {
        let member = ["--directory", self.found_at.as_str()];
        self.keeper(role, name, &[&member, more].concat())
    }

    /// Starts a gateway with a plain address, and with tokens for everybody.
    pub fn gateway(&self, more: &[&str]) -> Process {
        let tokens = self.path("tokens.csv");
        let usual =
            ["--directory", &self.found_at, "--token-auth-file", text(&tokens), "--insecure-listen", "127.0.0.1:0"];
        let usual = if more.contains(&"--insecure-listen") { &usual[..4] } else { &usual };
        self.serve("gateway", &[usual, more].concat())
    }

    /// Starts a role that serves, and waits until it does.
    pub fn serve(&self, role: &str, arguments: &[&str]) -> Process {
        let pki = self.path("pki");
        let listens = arguments.contains(&"--listen");
        let usual = ["--pki-dir", text(&pki), "--listen", "127.0.0.1:0"];
        let usual = if listens { &usual[..2] } else { &usual };
        self.start(role, &[usual, arguments].concat())
    }

    /// Starts hollow hosts of a resource manager, and waits until they run.
    pub fn hosts(&self, manager: &str, at: &Process, count: usize, prefix: &str) -> Process {
        self.hosts_of(manager, std::slice::from_ref(at), count, prefix)
    }

    /// The same, of a resource manager of several processes.
    pub fn hosts_of(&self, manager: &str, at: &[Process], count: usize, prefix: &str) -> Process {
        let urls: Vec<String> = at.iter().map(|it| format!("https://{}", it.address.expect("it serves"))).collect();
        let (peer, all, count) = (self.component(manager, &urls[0]), urls.join(","), count.to_string());
        let usual = ["--resource-manager", &peer, "--hosts", &count, "--prefix", prefix];
        let several = if urls.len() > 1 { &["--server", &all][..] } else { &[] };
        self.start("hosts", &[&usual, several].concat())
    }

    /// Where it is told where to listen, anybody on this machine may have that port for a moment: then it is tried
    /// again.
    #[allow(clippy::disallowed_methods)] // other processes have no clock that could be stepped
    fn start(&self, role: &str, arguments: &[&str]) -> Process {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::try_start(role, arguments) {
                Ok(started) => return started,
                Err(said) if said.contains(TAKEN) && Instant::now() < deadline => pause(),
                Err(said) => panic!("{role} {arguments:?} did not start: {said}"),
            }
        }
    }

    fn try_start(role: &str, arguments: &[&str]) -> Result<Process, String> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_arktos"))
            .arg(role)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let said = Arc::new(Mutex::new(String::new()));
        let (errors, into) = (BufReader::new(process.stderr.take().expect("piped")), said.clone());
        let reads = std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                *into.lock() += &format!("{line}\n");
            }
        });
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let (told, hears) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.for_each(|line| drop(told.send(line)))); // the pipe must not fill up
        let mut started = Process { process, address: None, insecure: None, said, reads: Some(reads) };
        let plain = arguments.contains(&"--insecure-listen");
        while let Ok(line) = hears.recv_timeout(PATIENCE) {
            let found = |scheme: &str| line.split_once(scheme).and_then(|(_, rest)| rest.trim().parse().ok());
            started.address = started.address.or_else(|| found("https://"));
            started.insecure = started.insecure.or_else(|| found("http://"));
            if role == "hosts" || (started.address.is_some() && started.insecure.is_some() == plain) {
                return Ok(started);
            }
        }
        started.end();
        let _ = started.reads.take().map(JoinHandle::join); // all that it has said
        let said = started.said.lock().clone();
        Err(said)
    }
}

/// Somebody at a gateway's plain address, by a token.
pub fn caller<'a>(gateway: &Process, token: &'a str) -> Caller<'a> {
    Caller::new(gateway.insecure.expect("a plain address"), token)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in text")
}
