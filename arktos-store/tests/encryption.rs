//! What is encrypted at rest: no file of any backend has it, keys rotate, and who has no key is told.

mod backends;
#[cfg(feature = "etcd")]
mod etcd_server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Revision, Timestamp, TypeMeta};
use arktos_store::clock::ManualClock;
use arktos_store::conformance::Backend;
use arktos_store::encryption::{Cipher, Encrypted, Encryption};
use arktos_store::storage::OpenError;
use arktos_store::{Change, Commit, CommitError, Engine, EngineConfig, Expect, Within};
use parking_lot::Mutex;

/// A cipher whose keys are single bytes: it turns all bits that the key has, and says what it was bound to.
#[derive(Debug)]
struct Mask(Mutex<Vec<(&'static str, u8)>>);

impl Mask {
    fn new(keys: &[(&'static str, u8)]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(keys.to_vec())))
    }
}

impl Cipher for Mask {
    fn key_for(&self, resource: &GroupResource) -> Option<Arc<str>> {
        let first = self.0.lock().first().map(|(name, _)| Arc::from(*name));
        first.filter(|_| resource.as_str() == "secrets")
    }

    fn encrypt(&self, resource: &GroupResource, bound: &[u8], plain: &[u8]) -> Result<Option<Encrypted>, String> {
        let Some(key) = self.key_for(resource) else { return Ok(None) };
        let mask = self.0.lock()[0].1;
        let bytes = [bound, b"|", plain].concat();
        Ok(Some(Encrypted::new(key, bytes.into_iter().map(|byte| byte ^ mask).collect())))
    }

    fn decrypt(&self, _: &GroupResource, key: &str, bound: &[u8], bytes: &[u8]) -> Result<Vec<u8>, String> {
        let keys = self.0.lock().clone();
        let found = keys.into_iter().find(|(name, _)| *name == key);
        let (_, mask) = found.ok_or_else(|| format!("needs the key {key}: give it"))?;
        let plain: Vec<u8> = bytes.iter().map(|byte| byte ^ mask).collect();
        let rest = plain.strip_prefix(bound).and_then(|rest| rest.strip_prefix(b"|"));
        rest.map(<[u8]>::to_vec).ok_or_else(|| "was encrypted with another key: give that".to_owned())
    }

    fn takes_plain(&self, resource: &GroupResource) -> Result<(), String> {
        match self.0.lock().iter().any(|(name, _)| *name == "strict") && resource.as_str() == "secrets" {
            true => Err("is not encrypted".to_owned()),
            false => Ok(()),
        }
    }
}

fn config(encryption: Encryption) -> EngineConfig {
    let mut config = EngineConfig::default();
    config.encryption = encryption;
    config
}

fn with(keys: &[(&'static str, u8)]) -> EngineConfig {
    config(Encryption::By(Mask::new(keys)))
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)))
}

fn secrets() -> GroupResource {
    GroupResource::core("secrets")
}

fn key(resource: GroupResource, name: &str) -> ObjectKey {
    ObjectKey { resource, path: ObjectPath::new("acme", "default", name) }
}

/// What is looked for in files, in clear letters.
const SECRET: &str = "hunter2-is-secret";
const PLAIN: &str = "nothing-is-secret";

fn object(kind: &str, name: &str, text: &str) -> Encoded {
    let type_meta = Arc::new(TypeMeta::new("", "v1", kind));
    let mut object = Object::new(&type_meta, name);
    object.set(&["metadata", "labels"], serde_json::json!({ "in-a-label": text }));
    object.set(&["metadata", "annotations"], serde_json::json!({ "in-an-annotation": text }));
    object.set(&["data"], serde_json::json!({ "in-the-data": text }));
    Encoded::encode(&type_meta, &object, &[&["data", "in-the-data"]]).expect("encodes")
}

fn put(name: &str, expect: Expect) -> Commit {
    Commit::one(key(secrets(), name), expect, Change::put(object("Secret", name, SECRET)))
}

async fn fill(engine: &Engine) {
    for name in ["first", "second"] {
        engine.commit(put(name, Expect::Absent)).await.expect("commits");
    }
    let map = object("ConfigMap", "map", PLAIN);
    let maps = key(GroupResource::core("configmaps"), "map");
    engine.commit(Commit::one(maps, Expect::Absent, Change::put(map))).await.expect("commits");
}

#[track_caller]
fn is_whole(engine: &Engine) {
    let snapshot = engine.snapshot();
    for name in ["first", "second"] {
        let stored = snapshot.get(&key(secrets(), name)).expect("is there");
        assert_eq!(stored.object, object("Secret", name, SECRET));
        assert_eq!(stored.object.header().label("in-a-label"), Some(SECRET));
    }
}

/// Whether a file below a directory has this text in it.
fn is_in(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).expect("lists").flatten().any(|entry| match entry.path() {
        path if path.is_dir() => is_in(&path, text),
        path => {
            let bytes = std::fs::read(&path).unwrap_or_default(); // or it has gone meanwhile
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        }
    })
}

/// An engine that works.
struct Store {
    engine: Engine,
    running: Vec<tokio::task::JoinHandle<()>>,
}

impl Store {
    async fn close(self) {
        self.engine.close().await;
        for task in self.running {
            task.await.expect("ends");
        }
    }
}

async fn opened(backend: &dyn Backend, config: EngineConfig) -> Result<Store, OpenError> {
    let (engine, running) = backend.open(config, clock()).await?.into_parts();
    Ok(Store { engine, running: running.into_iter().map(tokio::spawn).collect() })
}

/// What one line says to whoever cannot open it.
async fn refused(backend: &dyn Backend, config: EngineConfig) -> String {
    let refused = opened(backend, config).await.err().expect("does not open");
    assert!(matches!(refused, OpenError::Encrypted(_)), "{refused:?}");
    let said = refused.to_string();
    assert!(said.starts_with("secrets acme/default/") && !said.contains('\n'), "{said}");
    said
}

async fn keeps_it_encrypted(backend: &dyn Backend, directory: &Path) {
    let store = opened(backend, with(&[("old", 0x55)])).await.expect("opens");
    fill(&store.engine).await;
    is_whole(&store.engine);
    let found = store.engine.commit(put("first", Expect::Absent)).await;
    let Err(CommitError::Conflict { found: Some(found), .. }) = found else { panic!("{found:?}") };
    assert_eq!(found.object, object("Secret", "first", SECRET));
    store.close().await;
    assert!(is_in(directory, PLAIN) && !is_in(directory, SECRET));

    let said = refused(backend, EngineConfig::default()).await;
    assert!(said.contains("with the key old, and no keys were given: give them"), "{said}");
    assert!(refused(backend, with(&[("new", 0x33)])).await.contains("needs the key old: give it"));
    assert!(refused(backend, with(&[("old", 0x56)])).await.contains("another key"));
    let store = opened(backend, with(&[("new", 0x33), ("old", 0x55)])).await.expect("opens: nothing is lost");
    is_whole(&store.engine);

    // Read and written again, each has the new key.
    for name in ["first", "second"] {
        let stored = store.engine.snapshot().get(&key(secrets(), name)).expect("is there");
        assert!(store.engine.is_stale(&secrets(), stored.revision));
        let again = put(name, Expect::At(stored.revision));
        let done = store.engine.commit(again).await.expect("commits");
        assert!(!store.engine.is_stale(&secrets(), done.revision));
    }
    assert!(!store.engine.is_stale(&GroupResource::core("configmaps"), Revision(1)));
    store.close().await;
    assert!(is_in(directory, PLAIN) && !is_in(directory, SECRET));
    let store = opened(backend, with(&[("new", 0x33), ("old", 0x55)])).await.expect("opens");
    is_whole(&store.engine);
    store.close().await;
}

#[cfg(feature = "log")]
#[tokio::test]
async fn log() {
    let backend = backends::Log(tempfile::tempdir().expect("a directory"));
    let directory = backend.0.path().to_owned();
    keeps_it_encrypted(&backend, &directory).await;
}

#[cfg(feature = "sled")]
#[tokio::test]
async fn sled() {
    let backend = backends::Sled(tempfile::tempdir().expect("a directory"));
    let directory = backend.0.path().to_owned();
    keeps_it_encrypted(&backend, &directory).await;
}

#[cfg(feature = "etcd")]
#[tokio::test]
async fn etcd() {
    let Some(server) = etcd_server::EtcdServer::start() else { return };
    let backend = backends::Etcd(server);
    let directory = backend.0.directory().to_owned();
    keeps_it_encrypted(&backend, &directory).await;

    // What another process writes is fed to this one.
    let keys = [("new", 0x33), ("old", 0x55)];
    let (one, other) = (opened(&backend, with(&keys)).await, opened(&backend, with(&keys)).await);
    let (one, other) = (one.expect("opens"), other.expect("opens"));
    let done = one.engine.commit(put("third", Expect::Absent)).await.expect("commits");
    let seen = other.engine.not_older_than(done.revision).await.expect("is fed");
    assert_eq!(seen.get(&key(secrets(), "third")).expect("is there").object, object("Secret", "third", SECRET));
    one.close().await;
    other.close().await;
}

/// Once the keys are changed and the history window has passed, the log needs the older key no more.
#[cfg(feature = "log")]
#[tokio::test]
async fn a_log_forgets_an_older_key_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mask, clock) = (Mask::new(&[("old", 0x55)]), clock());
    let journal = arktos_store::log::LogJournal::open(directory.path(), Default::default()).expect("opens");
    let engine = Engine::open(Box::new(journal), config(Encryption::By(mask.clone())), clock.clone()).expect("opens");
    fill(&engine).await;
    *mask.0.lock() = vec![("new", 0x33), ("old", 0x55)];
    engine.keys_changed(|resource| *resource == secrets()).await.expect("changes");
    let newest = engine.snapshot().revision();
    assert!(engine.is_stale(&secrets(), newest));
    clock.advance(Duration::from_secs(301));
    let first = directory.path().join("log-0000000000000001");
    for _ in 0..3000 {
        engine.compact(arktos_store::Clock::now(&*clock)).await.expect("compacts");
        engine.flush().await.expect("flushes");
        if !first.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // the keeper has a thread of its own
    }
    assert!(!first.exists(), "the piece with the older key has gone");
    engine.close().await;
    let backend = backends::Log(directory);
    let store = opened(&backend, with(&[("new", 0x33)])).await.expect("needs the new key alone");
    is_whole(&store.engine);
    assert_eq!(store.engine.snapshot().revision(), newest, "nothing had to be written");
    store.close().await;
    assert!(!is_in(backend.0.path(), SECRET));
}

/// Also where there is no history, and nothing is written that would begin a new piece of the log.
#[cfg(feature = "log")]
#[tokio::test]
async fn a_log_in_which_nothing_happens_forgets_an_older_key_as_well() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mask, clock) = (Mask::new(&[("old", 0x55)]), clock());
    let journal = arktos_store::log::LogJournal::open(directory.path(), Default::default()).expect("opens");
    let engine = Engine::open(Box::new(journal), config(Encryption::By(mask.clone())), clock.clone()).expect("opens");
    fill(&engine).await;
    clock.advance(Duration::from_secs(301));
    engine.compact(arktos_store::Clock::now(&*clock)).await.expect("compacts");
    *mask.0.lock() = vec![("new", 0x33), ("old", 0x55)];
    engine.keys_changed(|resource| *resource == secrets()).await.expect("changes");
    let first = directory.path().join("log-0000000000000001");
    for _ in 0..500 {
        engine.flush().await.expect("flushes");
        if !first.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // the keeper has a thread of its own
    }
    assert!(!first.exists(), "the piece with the older key has gone");
    engine.close().await;
    let backend = backends::Log(directory);
    let store = opened(&backend, with(&[("new", 0x33)])).await.expect("needs the new key alone");
    is_whole(&store.engine);
    store.close().await;
}

#[cfg(feature = "log")]
#[tokio::test]
async fn backups_have_it_encrypted_as_well() {
    use arktos_store::backup::{self, RestoreOptions};

    let all = tempfile::tempdir().expect("a directory");
    let backend = backends::Log(tempfile::tempdir().expect("a directory"));
    let store = opened(&backend, with(&[("old", 0x55)])).await.expect("opens");
    fill(&store.engine).await;
    let from_inside = all.path().join("inside");
    let mut file = std::fs::File::create(&from_inside).expect("a file");
    store.engine.backup(&mut file, &mut |_| {}).expect("writes");
    let beside = all.path().join("beside");
    let mut file = std::fs::File::create(&beside).expect("a file");
    backup::of_directory(backend.0.path(), Timestamp::from_micros(1), &mut file, &mut |_| {}).expect("writes");
    store.close().await;
    assert!(is_in(all.path(), PLAIN) && !is_in(all.path(), SECRET));
    for file in [from_inside, beside] {
        assert_eq!(backup::inspect(&file).expect("is whole").objects, 3);
        let mut options = RestoreOptions::new(Timestamp::from_micros(2_000_000));
        options.backup = Some(file);
        let restored = backends::Log(tempfile::tempdir().expect("a directory"));
        backup::restore(&options, restored.0.path(), &mut |_| {}).expect("restores");
        assert!(!is_in(restored.0.path(), SECRET));
        assert!(refused(&restored, EngineConfig::default()).await.contains("the key old"));
        let store = opened(&restored, with(&[("old", 0x55)])).await.expect("opens");
        is_whole(&store.engine);
        store.close().await;
    }
}

#[cfg(feature = "log")]
#[tokio::test]
async fn what_was_plain_is_taken_only_where_that_is_said_and_what_is_as_found_stays_so() {
    let backend = backends::Log(tempfile::tempdir().expect("a directory"));
    let store = opened(&backend, EngineConfig::default()).await.expect("opens");
    fill(&store.engine).await;
    store.close().await;
    assert!(is_in(backend.0.path(), SECRET));
    assert!(refused(&backend, with(&[("strict", 0x55)])).await.contains("is not encrypted"));
    let store = opened(&backend, with(&[("old", 0x55)])).await.expect("opens");
    is_whole(&store.engine);
    assert!(store.engine.is_stale(&secrets(), Revision(1)), "it is to be encrypted");
    store.engine.commit(put("third", Expect::Absent)).await.expect("commits");
    store.close().await;
    let store = opened(&backend, config(Encryption::AsFound)).await.expect("opens");
    let found = |name| store.engine.snapshot().get(&key(secrets(), name)).expect("is there").object;
    assert_eq!(arktos_store::encryption::key_of(&found("first")), None);
    assert_eq!(arktos_store::encryption::key_of(&found("third")), Some("old"));
    assert_eq!(store.engine.snapshot().count(&secrets(), &Within::Everywhere), 3);
    store.close().await;
    let store = opened(&backend, with(&[("old", 0x55)])).await.expect("opens");
    assert_eq!(
        store.engine.snapshot().get(&key(secrets(), "third")).map(|it| it.object),
        Some(object("Secret", "third", SECRET))
    );
    store.close().await;
}

/// Encrypts until its key is out of reach.
#[cfg(feature = "log")]
#[derive(Debug)]
struct OutOfReach(Arc<Mask>, Mutex<bool>);

#[cfg(feature = "log")]
impl Cipher for OutOfReach {
    fn key_for(&self, resource: &GroupResource) -> Option<Arc<str>> {
        self.0.key_for(resource)
    }

    fn encrypt(&self, resource: &GroupResource, bound: &[u8], plain: &[u8]) -> Result<Option<Encrypted>, String> {
        match *self.1.lock() {
            true => Err("its key is out of reach".to_owned()),
            false => self.0.encrypt(resource, bound, plain),
        }
    }

    fn decrypt(&self, resource: &GroupResource, key: &str, bound: &[u8], bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.0.decrypt(resource, key, bound, bytes)
    }

    fn takes_plain(&self, resource: &GroupResource) -> Result<(), String> {
        self.0.takes_plain(resource)
    }
}

/// The log before a snapshot goes on its word: what it left out would be lost.
#[cfg(feature = "log")]
#[tokio::test]
async fn a_state_of_which_something_cannot_be_encrypted_is_not_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let cipher = Arc::new(OutOfReach(Mask::new(&[("old", 0x55)]), Mutex::new(false)));
    let journal = arktos_store::log::LogJournal::open(directory.path(), Default::default()).expect("opens");
    let engine = Engine::open(Box::new(journal), config(Encryption::By(cipher.clone())), clock()).expect("opens");
    fill(&engine).await;
    *cipher.1.lock() = true;
    let refused = engine.backup(&mut Vec::new(), &mut |_| {}).expect_err("is not whole");
    assert!(refused.to_string().contains("secrets"), "{refused}");
    *cipher.1.lock() = false;
    assert_eq!(engine.backup(&mut Vec::new(), &mut |_| {}).expect("writes").objects, 3);
    engine.close().await;
}
