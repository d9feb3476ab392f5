//! The server: `arktos up` in a process of its own, and what it uses.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;

use super::{Outcome, process};

/// `arktos up`, as the program of that name has it.
#[derive(Parser)]
struct Up {
    #[command(flatten)]
    args: arktos_bin::cli::up::UpArgs,
}

/// Is the server.
pub fn serve(arguments: &[String]) -> ExitCode {
    let up = Up::parse_from(std::iter::once("up").chain(arguments.iter().map(String::as_str)));
    arktos_bin::cli::run(|stop| arktos_bin::cli::up::up(up.args, stop))
}

/// A running server. It ends with this.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    /// PEM of who signed its certificate.
    pub authority: String,
    /// How long it took until it answered, in seconds.
    pub ready: f64,
    directory: PathBuf,
}

/// The token of an administrator of a tenant.
pub fn token_of(tenant: &str) -> String {
    format!("{tenant}-token")
}

impl Server {
    /// Starts one over a log in a directory, with some tenants and an administrator of each, without hosts, and with no
    /// controllers but those that are named.
    pub fn start(directory: &Path, tenants: &[&str], controllers: &str) -> Outcome<Self> {
        let tokens = directory.join("tokens.csv");
        let line = |tenant: &&str| format!("{},alice,1,\"system:masters\",,{tenant}\n", token_of(tenant));
        std::fs::write(&tokens, tenants.iter().map(line).collect::<String>())?;
        let data = directory.join("data");
        let begun = Instant::now();
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--serve", "--listen", "127.0.0.1:0", "--hosts", "0", "--store", "log"])
            .args(["--tenants", &tenants.join(",")])
            .arg(format!("--controllers={controllers}"))
            .args(["--disable-admission-plugins", "ServiceAccount", "--log-level", "error"])
            .arg("--data-dir")
            .arg(&data)
            .arg("--token-auth-file")
            .arg(&tokens)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("piped")?).lines();
        let mut address = None;
        for line in lines.by_ref() {
            let line = line?;
            if let Some(at) = line.find("https://") {
                address = line[at + 8..].split_whitespace().next().and_then(|text| text.parse().ok());
            }
            if line == "Try:" {
                break;
            }
        }
        let ready = begun.elapsed().as_secs_f64();
        std::thread::spawn(move || lines.for_each(drop)); // the pipe must not fill up
        let address = address.ok_or("the server did not start")?;
        let authority = std::fs::read_to_string(data.join("pki").join("ca.crt"))?;
        Ok(Self { process, address, authority, ready, directory: directory.to_owned() })
    }

    /// The processor time that it has used, in seconds, to a hundredth.
    pub fn cpu(&self) -> f64 {
        process::cpu_of(self.process.id())
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> f64 {
        process::resident_of(self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(self.directory.join("data"));
    }
}
