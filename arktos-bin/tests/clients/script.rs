//! A script that drives a client. It says on its standard output what it does: `PASSED` or `FAILED` and a step's name,
//! or `RESTART` when it wants the server killed and started again, after which it is told `restarted`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::world;

/// A script, and the program that runs it.
pub struct Script(Command);

impl Script {
    /// A script that this program runs.
    pub fn new(program: &Path, script: &Path) -> Self {
        let mut command = Command::new(program);
        command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command)
    }

    /// The same, with something in its environment.
    pub fn with(mut self, name: &str, value: &Path) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it against a region of its own, as the administrator of a tenant, and expects that every step passes.
    pub fn run(mut self) {
        let mut world = world();
        self.0.env("KUBECONFIG", world.region.kubeconfig(Some("acme"))).env("HOME", world.directory.path());
        let mut process = self.0.spawn().expect("it runs");
        let mut stdin = process.stdin.take().expect("piped");
        let mut stderr = process.stderr.take().expect("piped");
        let said = std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stderr.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        let mut passed = 0;
        for line in BufReader::new(process.stdout.take().expect("piped")).lines() {
            let line = line.expect("text");
            println!("{line}");
            passed += usize::from(line.starts_with("PASSED "));
            if line == "RESTART" {
                world.region.restart();
                writeln!(stdin, "restarted").expect("it listens");
            }
        }
        let status = process.wait().expect("it ends");
        assert!(status.success() && passed > 0, "{status}:\n{}", said.join().expect("it reads"));
        assert!(world.region.stop().success());
    }
}
