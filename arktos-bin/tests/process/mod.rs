//! Running the real `arktos` program, for tests that look at it from outside.
#![allow(dead_code)] // each test uses its own part

pub mod http;
pub mod roles;
pub mod world;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What a program says whose port somebody has already.
pub const TAKEN: &str = "Address already in use";

/// A running `arktos up`. Dropping it kills it.
pub struct Region {
    process: Child,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// The plain HTTP address, where it was asked for.
    pub insecure: Option<SocketAddr>,
    /// What it was started with beside these.
    arguments: Vec<String>,
}

impl Region {
    /// Starts `arktos up` on a free port, and waits until it says that it is up.
    pub fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        Self::try_start(data_dir, arguments).unwrap_or_else(|error| panic!("arktos up did not start: {error}"))
    }

    /// As [`start`](Self::start), and gives back what the process said when it did not start.
    pub fn try_start(data_dir: &Path, arguments: &[&str]) -> Result<Self, String> {
        Self::start_at("127.0.0.1:0", data_dir, arguments)
    }

    fn start_at(listen: &str, data_dir: &Path, arguments: &[&str]) -> Result<Self, String> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_arktos"))
            .args(["up", "--listen", listen, "--data-dir"])
            .arg(data_dir)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut address = None;
        let mut insecure = None;
        for line in lines.by_ref() {
            if let Some(at) = line.find("https://") {
                address = line[at + 8..].split_whitespace().next().and_then(|text| text.parse().ok());
            }
            if let Some(at) = line.find("http://") {
                insecure = line[at + 7..].split_whitespace().next().and_then(|text| text.parse().ok());
            }
            if line == "Try:" {
                break;
            }
        }
        let mut stderr = process.stderr.take().expect("piped");
        let Some(address) = address else {
            let _ = process.wait();
            let mut said = String::new();
            let _ = stderr.read_to_string(&mut said);
            return Err(said);
        };
        // Nobody reads on: the pipes must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(Self { process, address, data_dir: data_dir.to_owned(), insecure, arguments })
    }

    /// Kills it without a word, and starts it again in the same place: clients find it where it was.
    pub fn restart(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let (address, deadline) = (self.address.to_string(), Instant::now() + PATIENCE);
        *self = loop {
            match Self::start_at(&address, &self.data_dir, &arguments) {
                Ok(again) => break again,
                // Anybody on this machine may have been given the port meanwhile, for a connection of a moment.
                Err(said) if said.contains(TAKEN) && Instant::now() < deadline => pause(),
                Err(said) => panic!("arktos up did not start again: {said}"),
            }
        };
    }

    /// The kubeconfig of a tenant, or of the administrator.
    pub fn kubeconfig(&self, tenant: Option<&str>) -> PathBuf {
        match tenant {
            Some(tenant) => self.data_dir.join("kubeconfigs").join(format!("{tenant}.kubeconfig")),
            None => self.data_dir.join("admin.kubeconfig"),
        }
    }

    /// How many bytes of memory it holds.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    }

    /// Kills it without a word, as a power failure would.
    pub fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it can be waited for");
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not stop on SIGTERM");
            pause();
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A kubectl, with somebody's kubeconfig.
#[derive(Clone)]
pub struct Kubectl {
    /// The program.
    pub program: PathBuf,
    /// Who is asking.
    pub kubeconfig: PathBuf,
}

impl Kubectl {
    /// Runs it, whatever comes of it.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("kubectl runs")
    }

    /// The command, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--request-timeout=180s").args(arguments);
        command.env("HOME", self.kubeconfig.parent().expect("it is in a directory")).stdin(Stdio::null());
        command
    }

    /// Runs it, expects success, and gives back what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {arguments:?} failed:\n{out}{error}", self.program.display());
        out.into_owned()
    }

    /// Runs it, expects failure, and gives back what it said.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{} {arguments:?} succeeded:\n{out}", self.program.display());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs it with something on its standard input, and expects success.
    pub fn feed(&self, arguments: &[&str], input: &str) -> String {
        use std::io::Write;
        let mut command = self.command(arguments);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl runs");
        process.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        let output = process.wait_with_output().expect("it ends");
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {arguments:?} failed:\n{out}{error}", self.program.display());
        out.into_owned()
    }

    /// Repeats a command until what it prints fulfils a condition.
    pub fn until(&self, arguments: &[&str], condition: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let out = String::from_utf8_lossy(&self.output(arguments).stdout).into_owned();
            if condition(&out) {
                return out;
            }
            assert!(Instant::now() < deadline, "{arguments:?} never came to what was expected; at last:\n{out}");
            pause();
        }
    }
}

/// Every kubectl on this machine: those called `kubectl` or `kubectl.<version>` on the path, and beside those.
pub fn kubectls() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let beside = folders.iter().filter_map(|folder| folder.join("kubectl").canonicalize().ok());
    let beside: Vec<PathBuf> = beside.filter_map(|program| program.parent().map(Path::to_owned)).collect();
    folders.extend(beside);
    let mut found = std::collections::BTreeMap::new();
    for entry in folders.iter().flat_map(std::fs::read_dir).flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix("kubectl.").unwrap_or_default();
        let versioned = version.starts_with("1.") && version[2..].bytes().all(|byte| byte.is_ascii_digit());
        if name == "kubectl" || versioned {
            found.entry(name).or_insert_with(|| entry.path());
        }
    }
    let only_versions = found.len() > 1;
    // Where there are versions, the plain one is a dispatcher to one of them.
    found.into_iter().filter(|(name, _)| !only_versions || name != "kubectl").map(|(_, path)| path).collect()
}

/// A moment's wait between two looks at another process.
#[allow(clippy::disallowed_methods)] // there is no clock to step in another process
pub fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
