//! Which backend keeps a role's objects, and where.

use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "net")]
use arktos_store::encryption::Encryption;
use arktos_store::engine::EngineConfig;
use arktos_store::log::{Directory, Inspection, LogJournal, LogOptions};
use arktos_store::storage::{Journal, OpenError};
use arktos_store::{Clock, Engine, Tasks};

use crate::metrics::Metrics;

/// What keeps the objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// The project's own segmented log: durable, in the data directory.
    #[default]
    Log,
    /// Nothing: what is stored is gone with the process.
    Memory,
    /// A sled database in the data directory.
    Sled,
    /// An etcd cluster, by the URLs of its members.
    Etcd(Vec<String>),
    /// A backend of the embedder's own. No flag names it.
    Own(OwnJournal),
}

impl StoreKind {
    /// Whether several processes can have one store of this kind.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Etcd(_))
    }
}

/// Opens a journal of the embedder's own for each role that has a store, by the role's name.
#[derive(Clone)]
pub struct OwnJournal(Arc<OpenJournal>);

type OpenJournal = dyn Fn(&str) -> Result<Box<dyn Journal>, OpenError> + Send + Sync;

impl OwnJournal {
    /// A backend that is opened so.
    pub fn new(open: impl Fn(&str) -> Result<Box<dyn Journal>, OpenError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }
}

impl fmt::Debug for OwnJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnJournal")
    }
}

impl PartialEq for OwnJournal {
    /// Whether both are the same one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OwnJournal {}

/// A string that names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a store: log, memory, sled, or etcd:URL[,URL…]")]
pub struct UnknownStore(String);

impl FromStr for StoreKind {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "log" => Ok(Self::Log),
            "memory" => Ok(Self::Memory),
            "sled" => Ok(Self::Sled),
            other => match other.strip_prefix("etcd:") {
                Some(urls) if !urls.is_empty() => Ok(Self::Etcd(urls.split(',').map(str::to_owned).collect())),
                _ => Err(UnknownStore(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Memory => f.write_str("memory"),
            Self::Sled => f.write_str("sled"),
            Self::Etcd(urls) => write!(f, "etcd:{}", urls.join(",")),
            Self::Own(_) => f.write_str("own"),
        }
    }
}

/// Which store, where, and how much history it keeps.
#[derive(Debug, Clone)]
pub struct StoreArgs {
    /// What keeps the objects.
    pub kind: StoreKind,
    /// The directory under which embedded stores keep their files, one directory a role.
    pub data_dir: PathBuf,
    /// How long past revisions are kept.
    pub history_window: Duration,
    /// The most bytes that the history of one resource takes in memory, whatever its age.
    pub history_bytes: usize,
    /// Where full segments of logs are copied to, one directory a role; nowhere when absent.
    pub archive_dir: Option<PathBuf>,
    /// How an etcd cluster is spoken to.
    pub etcd: EtcdAccess,
    /// With which keys objects are encrypted at rest; none are when absent.
    #[cfg(feature = "net")]
    pub encryption: Option<Arc<crate::encryption::Keys>>,
}

/// How an etcd cluster is spoken to. Certificates and keys are PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdAccess {
    /// What all keys begin with; the role's name follows. Default: `/arktos`.
    pub prefix: String,
    /// The authority that signed the members' certificates; the system's own when absent.
    pub ca: Option<Vec<u8>>,
    /// The certificate and key to show, where etcd asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the members' certificates, where it is not the host in their URLs.
    pub server_name: Option<String>,
    /// The user to be, and its password.
    pub user: Option<(String, String)>,
    /// Whether etcd is told to forget what has left the history window. Default: yes.
    pub compact: bool,
}

impl Default for EtcdAccess {
    fn default() -> Self {
        Self { prefix: "/arktos".to_owned(), ca: None, identity: None, server_name: None, user: None, compact: true }
    }
}

impl fmt::Debug for EtcdAccess {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdAccess")
            .field("prefix", &self.prefix)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Default for StoreArgs {
    fn default() -> Self {
        Self {
            kind: StoreKind::Memory,
            data_dir: PathBuf::new(),
            history_window: Duration::from_secs(300),
            history_bytes: 256 << 20,
            etcd: EtcdAccess::default(),
            archive_dir: None,
            #[cfg(feature = "net")]
            encryption: None,
        }
    }
}

impl StoreArgs {
    /// How an engine keeps history for a role with these options.
    #[must_use]
    pub fn keeping(&self) -> EngineConfig {
        let mut config = EngineConfig::default();
        (config.history_window, config.history_bytes) = (self.history_window, self.history_bytes);
        config
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// This build has no such backend.
    #[error("this build has no {0} store: build it with `--features {0}`")]
    NotBuilt(&'static str),
    /// The backend could not be opened.
    #[error("the store in {path} cannot be opened: {source}")]
    Open {
        /// Where it is.
        path: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Opens the store of a role, and gives `tasks` what keeps it in order.
///
/// # Errors
/// [`StoreError`].
pub async fn open(
    args: &StoreArgs,
    role: &str,
    metrics: &Metrics,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Engine, StoreError> {
    let mut config = args.keeping();
    config.observer = Some(metrics.commits(role));
    #[cfg(feature = "net")]
    if let Some(keys) = &args.encryption {
        config.encryption = Encryption::By(keys.clone());
    }
    let engine = match &args.kind {
        StoreKind::Memory => Engine::memory_with(config, clock.clone()),
        StoreKind::Log => {
            let directory = private_directory(&args.data_dir.join(role))?;
            let mut journal =
                LogJournal::open(&directory, LogOptions::default()).map_err(|error| failed(&directory, error))?;
            if let Some(archive) = &args.archive_dir {
                let archive = private_directory(&archive.join(role))?;
                let disk = Directory::new(&archive).map_err(|error| failed(&archive, error))?;
                journal = journal.with_archive(Arc::new(disk));
            }
            Engine::open(Box::new(journal), config, clock.clone()).map_err(|error| failed(&directory, error))?
        }
        StoreKind::Sled => open_sled(args, role, config, clock)?,
        StoreKind::Etcd(urls) => open_etcd(urls, &args.etcd, role, config, clock, tasks).await?,
        StoreKind::Own(own) => {
            let place = Path::new(role);
            let journal = own.0(role).map_err(|error| failed(place, error))?;
            Engine::open(journal, config, clock.clone()).map_err(|error| failed(place, error))?
        }
    };
    metrics.store(role, &engine);
    #[cfg(feature = "net")]
    if let Some(keys) = &args.encryption {
        tasks.add(format!("{role} keys"), keys.clone().follow(engine.clone()));
    }
    let maintained = engine.clone();
    tasks.add(format!("{role} store"), async move { maintained.maintenance().await });
    Ok(engine)
}

/// A directory that only this user can read: a store holds secrets.
fn private_directory(path: &Path) -> Result<PathBuf, StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| failed(path, error))?;
    Ok(path.to_owned())
}

fn failed(place: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Open { path: place.display().to_string(), source: source.into() }
}

#[cfg(feature = "sled")]
fn open_sled(args: &StoreArgs, role: &str, config: EngineConfig, clock: &Arc<dyn Clock>) -> Result<Engine, StoreError> {
    let directory = private_directory(&args.data_dir.join(format!("{role}.sled")))?;
    let journal = arktos_store::sled::SledJournal::open(&directory, &arktos_store::sled::SledOptions::default())
        .map_err(|error| failed(&directory, error))?;
    Engine::open(Box::new(journal), config, clock.clone()).map_err(|error| failed(&directory, error))
}

#[cfg(not(feature = "sled"))]
fn open_sled(_: &StoreArgs, _: &str, _: EngineConfig, _: &Arc<dyn Clock>) -> Result<Engine, StoreError> {
    Err(StoreError::NotBuilt("sled"))
}

#[cfg(feature = "etcd")]
async fn open_etcd(
    urls: &[String],
    access: &EtcdAccess,
    role: &str,
    config: EngineConfig,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Engine, StoreError> {
    use arktos_store::etcd::{Etcd, EtcdOptions, EtcdTls};

    let mut options = EtcdOptions::new(urls);
    options.prefix = format!("{}/{role}", access.prefix);
    options.user.clone_from(&access.user);
    options.compact = access.compact;
    if access.ca.is_some() || access.identity.is_some() || access.server_name.is_some() {
        let mut tls = EtcdTls::default();
        tls.ca.clone_from(&access.ca);
        tls.identity.clone_from(&access.identity);
        tls.server_name.clone_from(&access.server_name);
        options.tls = Some(tls);
    }
    let place = PathBuf::from(format!("etcd:{}", urls.join(",")));
    let storage = Etcd::connect(&options, clock.clone()).await.map_err(|error| failed(&place, error))?;
    let shared = Engine::shared(Arc::new(storage), config, clock.clone()).await;
    let (engine, feed) = shared.map_err(|error| failed(&place, error))?;
    tasks.add(format!("{role} etcd feed"), feed);
    Ok(engine)
}

#[cfg(not(feature = "etcd"))]
async fn open_etcd(
    _: &[String],
    _: &EtcdAccess,
    _: &str,
    _: EngineConfig,
    _: &Arc<dyn Clock>,
    _: &Tasks,
) -> Result<Engine, StoreError> {
    Err(StoreError::NotBuilt("etcd"))
}

/// A data directory, of which is noted which store keeps its objects.
#[derive(Debug, Clone)]
pub struct Begun {
    note: PathBuf,
    kind: StoreKind,
    noted: bool,
}

impl Begun {
    /// Refuses a directory that was begun with another store, or of which the files of one of `roles` are gone: what
    /// was kept would seem never to have been.
    ///
    /// # Errors
    /// A sentence that says which store the directory belongs to, or what is gone.
    pub fn check(data_dir: &Path, kind: &StoreKind, roles: &[&str]) -> Result<Self, String> {
        let note = data_dir.join("store");
        let known = match fs::read_to_string(&note) {
            Ok(known) => known,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { note, kind: kind.clone(), noted: false });
            }
            Err(error) => return Err(format!("{}: {error}", note.display())),
        };
        // the members of a cluster come and go, and may be named in any order
        let same_cluster = known.starts_with("etcd:") && matches!(kind, StoreKind::Etcd(_));
        if known.trim() != kind.to_string() && !same_cluster {
            let (place, known) = (data_dir.display(), known.trim());
            return Err(format!(
                "{place} was begun with --store {known}: go on with that, or choose another --data-dir"
            ));
        }
        let gone = roles.iter().map(|role| data_dir.join(role)).find(|store| !Inspection::has_log(store));
        if let (StoreKind::Log, Some(gone)) = (kind, gone) {
            return Err(format!(
                "{} says that there is a store, and {} has no files of one: restore it from a backup (arktos store \
                 restore), or remove {0} to begin with nothing",
                note.display(),
                gone.display()
            ));
        }
        Ok(Self { note, kind: kind.clone(), noted: true })
    }

    /// Notes which store it is, once its stores were opened. Of one in memory nothing is left to be noted.
    ///
    /// # Errors
    /// A sentence that says that it cannot be written.
    pub fn remember(&self) -> Result<(), String> {
        if self.noted || self.kind == StoreKind::Memory {
            return Ok(());
        }
        let text = format!("{}\n", self.kind);
        fs::write(&self.note, text).map_err(|error| format!("{}: {error}", self.note.display()))
    }
}

/// Takes a data directory for this process, for as long as the file that is returned stays open.
///
/// # Errors
/// A sentence that says that another process has it, or what else went wrong.
pub fn lock(data_dir: &Path) -> Result<fs::File, String> {
    let path = data_dir.join("lock");
    let open = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let unusable = |error: std::io::Error| format!("the data directory cannot be used: {}: {error}", path.display());
    let file = open.map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(format!("another process is using {}: stop it first, or choose another --data-dir", data_dir.display()))
        }
        Err(fs::TryLockError::Error(error)) => Err(unusable(error)),
    }
}
