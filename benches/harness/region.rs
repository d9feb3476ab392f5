//! The processes of a region: this program itself, started again once for each role, wired over mutual TLS on loopback.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arktos::Client;
use arktos::core::catalog::Catalog;
use arktos::core::{GroupResource, Object, ObjectKey, ObjectPath, Reason, Status};
use arktos_bin::cli::{gateway, hosts, partition, resource_manager};
use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::pki::{Authority, Subject};
use arktos_bin::net::remote::Remote;
use clap::Parser;
use serde_json::{Value, json};

use super::{Outcome, process};

/// What comes before a role's name, when this program is one of the region's processes.
const FLAG: &str = "--role";

/// The roles, as the table names them.
pub const ROLES: [&str; 4] = ["partition", "resource manager", "gateway", "hosts"];

/// What all roles together may keep of the history of a resource, in MiB.
const HISTORY_MIB: usize = 1024;

/// How long anything may take to be there.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How many of what a region has.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Hollow hosts, of all resource managers together.
    pub hosts: usize,
    /// Tenant partitions.
    pub partitions: usize,
    /// Resource managers.
    pub managers: usize,
}

/// Clients of all roles that have an API: partitions, resource managers, and the gateway.
pub type Clients = (Vec<Arc<dyn Client>>, Vec<Arc<dyn Client>>, Arc<dyn Client>);

/// The command line of a role, as its own program has it.
#[derive(Parser)]
struct CommandLine<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

/// Is a role until it is told to stop, where this process was started to be one: what comes first in `main`.
pub fn as_role() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.as_slice() {
        [program, flag, role, rest @ ..] if flag == FLAG => Some(run(program, role, rest)),
        _ => None,
    }
}

fn run(program: &str, role: &str, rest: &[String]) -> ExitCode {
    fn parsed<A: clap::Args>(line: &[String]) -> A {
        CommandLine::parse_from(line).args
    }
    let line = [&[program.to_owned()], rest].concat();
    // A test that is killed leaves nothing running.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    match role {
        "partition" => arktos_bin::cli::run(|stop| partition::partition(parsed(&line), stop)),
        "resource-manager" => arktos_bin::cli::run(|stop| resource_manager::resource_manager(parsed(&line), stop)),
        "gateway" => arktos_bin::cli::run(|stop| gateway::gateway(parsed(&line), stop)),
        "hosts" => arktos_bin::cli::run(|stop| hosts::hosts(parsed(&line), stop)),
        _ => ExitCode::FAILURE,
    }
}

/// A process of the region.
pub struct Role {
    /// Which of [`ROLES`] it is.
    pub kind: usize,
    /// Its name.
    pub name: String,
    child: Child,
    log: PathBuf,
}

/// A region of processes. Dropped, it stops them.
pub struct Region {
    pub roles: Vec<Role>,
    /// How the gateway is reached, and each partition and resource manager, by name.
    pub gateway: Kubeconfig,
    pub partitions: Vec<(String, Kubeconfig)>,
    pub managers: Vec<(String, Kubeconfig)>,
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time, in seconds.
    pub cpu: f64,
    /// Resident memory, in bytes.
    pub memory: f64,
    /// The most memory that was resident, in bytes.
    pub peak: f64,
}

impl Region {
    /// Starts the roles, with their data in a directory.
    pub fn start(layout: &Layout, directory: &Path) -> Outcome<Self> {
        let pki = directory.join("pki");
        let authority = Authority::open(&pki)?;
        let ports = free_ports(1 + layout.partitions + layout.managers)?;
        let config = |name: &str, port: u16| -> Outcome<Kubeconfig> {
            let groups = vec![arktos::api::identity::MASTERS.to_owned()];
            let subject = Subject { user: format!("arktos:{name}"), tenant: None, groups };
            let credential = Some(authority.client(&subject)?);
            let (server, certificate) = (format!("https://127.0.0.1:{port}"), authority.certificate().to_owned());
            let config = Kubeconfig { server, authority: certificate, credential, token: None };
            fs::write(directory.join(format!("{name}.kubeconfig")), config.render(name))?;
            Ok(config)
        };
        let named = |prefix: &str, count: usize, first: usize| -> Outcome<Vec<(String, Kubeconfig)>> {
            let names = (0..count).map(|at| (format!("{prefix}-{at}"), ports[first + at]));
            names.map(|(name, port)| Ok((name.clone(), config(&name, port)?))).collect()
        };
        let partitions = named("tp", layout.partitions, 1)?;
        let managers = named("rm", layout.managers, 1 + layout.partitions)?;
        let mut region = Self { roles: Vec::new(), gateway: config("admin", ports[0])?, partitions, managers };
        region.start_roles(layout, directory, &pki)?;
        Ok(region)
    }

    fn start_roles(&mut self, layout: &Layout, directory: &Path, pki: &Path) -> Outcome<()> {
        let to = |flag: &'static str, names: &[(String, Kubeconfig)]| -> Vec<String> {
            let file = |name: &str| directory.join(format!("{name}.kubeconfig")).display().to_string();
            names.iter().flat_map(|(name, _)| [flag.to_owned(), format!("{name}={}", file(name))]).collect()
        };
        let (partitions, managers) = (to("--partition", &self.partitions), to("--resource-manager", &self.managers));
        let serving = |config: &Kubeconfig| -> Vec<String> {
            let address = config.server.trim_start_matches("https://").to_owned();
            ["--pki-dir".to_owned(), pki.display().to_string(), "--listen".to_owned(), address].into()
        };
        let storing = |name: &str| -> Vec<String> {
            let data = directory.join(name).display().to_string();
            let history = format!("{}Mi", (HISTORY_MIB / (layout.partitions + layout.managers)).min(256));
            ["--name", name, "--data-dir", &data, "--history-memory", &history].map(str::to_owned).into()
        };
        for (name, config) in self.managers.clone() {
            let arguments = [storing(&name), serving(&config), partitions.clone()].concat();
            self.run(1, "resource-manager", &name, &arguments, directory)?;
        }
        for (name, config) in self.partitions.clone() {
            let arguments = [storing(&name), serving(&config), managers.clone()].concat();
            self.run(0, "partition", &name, &arguments, directory)?;
        }
        let arguments = [serving(&self.gateway), partitions, managers].concat();
        self.run(2, "gateway", "gateway", &arguments, directory)?;
        for (at, (name, _)) in self.managers.clone().iter().enumerate().filter(|_| layout.hosts > 0) {
            let share = layout.hosts / layout.managers + usize::from(at < layout.hosts % layout.managers);
            let to = to("--resource-manager", std::slice::from_ref(&self.managers[at]));
            let first = (at * (layout.hosts / layout.managers + 1)).to_string();
            let prefix = format!("host-{at}");
            let arguments = ["--hosts", &share.to_string(), "--prefix", &prefix, "--first", &first].map(str::to_owned);
            self.run(3, "hosts", &format!("hosts-of-{name}"), &[arguments.to_vec(), to].concat(), directory)?;
        }
        Ok(())
    }

    fn run(&mut self, kind: usize, role: &str, name: &str, arguments: &[String], directory: &Path) -> Outcome<()> {
        let log = directory.join(format!("{name}.log"));
        let child = Command::new(std::env::current_exe()?)
            .arg(FLAG)
            .arg(role)
            .args(arguments)
            .stdin(Stdio::piped()) // closed when this process is gone, however it went
            .stdout(File::create(directory.join(format!("{name}.out")))?)
            .stderr(File::create(&log)?)
            .spawn()?;
        self.roles.push(Role { kind, name: name.to_owned(), child, log });
        Ok(())
    }

    /// Clients of all roles that have an API.
    pub fn clients(&self) -> Outcome<Clients> {
        let client = |config: &Kubeconfig| -> Outcome<Arc<dyn Client>> {
            Ok(Arc::new(Remote::new(config, Catalog::builtin())?))
        };
        let all = |named: &[(String, Kubeconfig)]| named.iter().map(|(_, config)| client(config)).collect();
        let (partitions, managers): (Outcome<Vec<_>>, Outcome<Vec<_>>) = (all(&self.partitions), all(&self.managers));
        Ok((partitions?, managers?, client(&self.gateway)?))
    }

    /// Waits until everybody answers.
    pub async fn ready(&self) -> Outcome<()> {
        let (partitions, managers, gateway) = self.clients()?;
        for client in partitions.iter().chain(&managers).chain([&gateway]) {
            let key = ObjectKey::region_scoped(GroupResource::core("tenants"), "nobody");
            eventually("a role answers", async || match client.get(&key).await {
                Err(status) if status.is(Reason::NotFound) => Ok(()),
                other => other.map(drop),
            })
            .await?;
        }
        Ok(())
    }

    /// Makes tenants in a partition, and waits until each can have pods and the gateway knows the way.
    pub async fn tenants(&self, partition: usize, names: &[String]) -> Outcome<()> {
        let (partitions, _, gateway) = self.clients()?;
        for name in names {
            let tenant = object(json!({"apiVersion": "v1", "kind": "Tenant", "metadata": {"name": name}}))?;
            partitions[partition].create(&GroupResource::core("tenants"), "", "", tenant).await?;
        }
        for name in names {
            let account = GroupResource::core("serviceaccounts");
            let key = ObjectKey { resource: account, path: ObjectPath::new(name, "default", "default") };
            eventually("a tenant can have pods", async || gateway.get(&key).await.map(drop)).await?;
        }
        Ok(())
    }

    /// An error when a role has ended, with the end of its log.
    pub fn check(&mut self) -> Outcome<()> {
        for role in &mut self.roles {
            if let Some(status) = role.child.try_wait()? {
                let log = fs::read_to_string(&role.log).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(format!("{} has ended ({status}): {}", role.name, last.join(" | ")).into());
            }
        }
        Ok(())
    }

    /// What each kind of role has used so far.
    pub fn usage(&self) -> [Usage; ROLES.len()] {
        let mut all = [Usage::default(); ROLES.len()];
        for role in &self.roles {
            let one = usage_of(role.child.id());
            let sum = &mut all[role.kind];
            *sum = Usage { cpu: sum.cpu + one.cpu, memory: sum.memory + one.memory, peak: sum.peak + one.peak };
        }
        all
    }

    /// What a role of this name has used so far.
    pub fn usage_of(&self, name: &str) -> Usage {
        let role = self.roles.iter().find(|role| role.name == name);
        role.map(|role| usage_of(role.child.id())).unwrap_or_default()
    }

    /// Tells everybody to stop, waits, and kills who does not.
    pub fn stop(&mut self) {
        for role in &self.roles {
            let _ = Command::new("kill").arg("-TERM").arg(role.child.id().to_string()).status();
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(15) {
            let running = self.roles.iter_mut().any(|role| matches!(role.child.try_wait(), Ok(None)));
            if !running {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for role in &mut self.roles {
            let _ = role.child.kill();
            let _ = role.child.wait();
        }
        self.roles.clear();
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ports that nobody listens on now.
fn free_ports(count: usize) -> Outcome<Vec<u16>> {
    let listeners = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0"));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    Ok(listeners.iter().map(|one| one.local_addr().map(|address| address.port())).collect::<Result<_, _>>()?)
}

fn usage_of(pid: u32) -> Usage {
    Usage { cpu: process::cpu_of(pid), memory: process::resident_of(pid), peak: process::peak_of(pid) }
}

/// An object of these fields.
pub fn object(value: Value) -> Result<Object, Status> {
    Object::from_value(value).ok_or_else(|| Status::bad_request("it is no object"))
}

/// Tries until it works, for as long as anything may take.
pub async fn eventually(what: &str, mut attempt: impl AsyncFnMut() -> Result<(), Status>) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(status) if begun.elapsed() > PATIENCE => return Err(format!("{what}: {status}").into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
