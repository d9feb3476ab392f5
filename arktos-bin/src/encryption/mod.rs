//! The keys with which objects are encrypted at rest, as upstream's EncryptionConfiguration names them. How an object
//! is sealed with each provider: `seal`.

mod config;
mod seal;

use std::fmt;
use std::sync::Arc;

use arktos_core::GroupResource;
use arktos_store::encryption::{Cipher, Encrypted};
use arktos_store::{Engine, Random};
use parking_lot::RwLock;
use tokio::sync::watch;

pub use self::config::{Config, ConfigError};

/// The keys of a configuration that may be replaced by another one.
pub struct Keys {
    random: Arc<dyn Random>,
    /// Written by whoever reads the file anew.
    config: RwLock<Arc<Config>>,
    /// Says that it was replaced.
    replaced: watch::Sender<()>,
}

impl fmt::Debug for Keys {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&*self.config()).finish()
    }
}

impl Keys {
    /// The keys of a configuration.
    #[must_use]
    pub fn new(config: Config, random: Arc<dyn Random>) -> Self {
        Self { random, config: RwLock::new(Arc::new(config)), replaced: watch::Sender::new(()) }
    }

    /// From now on, the keys of another one.
    pub fn replace(&self, config: Config) {
        *self.config.write() = Arc::new(config);
        self.replaced.send_replace(());
    }

    fn config(&self) -> Arc<Config> {
        self.config.read().clone()
    }

    /// Tells an engine each time what is encrypted otherwise from then on. The owner of the engine runs it.
    pub async fn follow(self: Arc<Self>, engine: Engine) {
        let mut replaced = self.replaced.subscribe();
        let mut before = self.config();
        while replaced.changed().await.is_ok() {
            let now = self.config();
            let changed = |resource: &GroupResource| before.key_for(resource) != now.key_for(resource);
            match engine.keys_changed(changed).await {
                Ok(()) => before = now,
                Err(error) => {
                    tracing::warn!(%error, "the store was not told of new keys");
                    return; // it takes no more writes
                }
            }
        }
    }
}

impl Cipher for Keys {
    fn key_for(&self, resource: &GroupResource) -> Option<Arc<str>> {
        self.config().key_for(resource)
    }

    fn encrypt(&self, resource: &GroupResource, bound: &[u8], plain: &[u8]) -> Result<Option<Encrypted>, String> {
        let config = self.config();
        let Some(key) = config.writing(resource) else { return Ok(None) };
        let sealed = key.secret.seal(&*self.random, key.own_name(), bound, plain);
        let bytes = sealed.map_err(|why| format!("{resource}: {why}"))?;
        Ok(Some(Encrypted::new(key.name.clone(), bytes)))
    }

    fn decrypt(&self, resource: &GroupResource, key: &str, bound: &[u8], bytes: &[u8]) -> Result<Vec<u8>, String> {
        let config = self.config();
        let key = config.reading(resource, key).ok_or_else(|| {
            format!(
                "is encrypted with the key {key}, which --encryption-provider-config does not name for {resource}: name \
                 it there, behind the first"
            )
        })?;
        key.secret.open(key.own_name(), bound, bytes).ok_or_else(|| {
            format!(
                "cannot be decrypted with the key {}: that is another key than it was encrypted with, or the object was \
                 changed. Give the key of that name that was there before, or restore a backup",
                key.name
            )
        })
    }

    fn takes_plain(&self, resource: &GroupResource) -> Result<(), String> {
        if self.config().takes_plain(resource) {
            return Ok(());
        }
        Err(format!(
            "is not encrypted, and --encryption-provider-config takes no {resource} that are not: add `identity: {{}}` \
             behind their other providers until all of them are encrypted"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_store::clock::SeededRandom;

    fn keys(text: &str) -> Keys {
        Keys::new(Config::parse(text.as_bytes()).expect("reads"), Arc::new(SeededRandom::new(1)))
    }

    fn config(keys: &[(&str, u8)]) -> String {
        use base64::Engine as _;
        let secret = |byte: u8| base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        let keys: Vec<String> =
            keys.iter().map(|(name, byte)| format!("{{name: {name}, secret: {}}}", secret(*byte))).collect();
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
             providers:\n  - aesgcm: {{keys: [{}]}}\n",
            keys.join(", ")
        )
    }

    #[test]
    fn what_the_first_key_encrypts_any_key_of_the_name_reads_and_only_in_its_place() {
        let (secrets, maps) = (GroupResource::core("secrets"), GroupResource::core("configmaps"));
        let old = keys(&config(&[("old", 1)]));
        let encrypted = old.encrypt(&secrets, b"place", b"hunter2 hunter2").expect("encrypts").expect("is to be");
        assert_eq!(&*encrypted.key, "aesgcm:old");
        assert!(!encrypted.bytes.windows(7).any(|bytes| bytes == b"hunter2"));
        let again = old.encrypt(&secrets, b"place", b"hunter2 hunter2").expect("encrypts").expect("is to be");
        assert_ne!(encrypted.bytes, again.bytes);
        assert_eq!(old.encrypt(&maps, b"place", b"plain"), Ok(None));

        let both = keys(&config(&[("new", 2), ("old", 1)]));
        assert_eq!(both.key_for(&secrets).as_deref(), Some("aesgcm:new"));
        let read = |keys: &Keys, place: &[u8], bytes: &[u8]| keys.decrypt(&secrets, "aesgcm:old", place, bytes);
        assert_eq!(read(&both, b"place", &encrypted.bytes).as_deref(), Ok(b"hunter2 hunter2".as_slice()));
        assert!(read(&both, b"another", &encrypted.bytes).expect_err("is bound").contains("changed"));
        for at in [0, 20, 40, encrypted.bytes.len() - 1] {
            let mut changed = encrypted.bytes.clone();
            changed[at] ^= 1;
            assert!(read(&both, b"place", &changed).is_err(), "{at}");
        }
        assert!(read(&both, b"place", &encrypted.bytes[..20]).is_err());

        let wrong = keys(&config(&[("old", 3)]));
        assert!(read(&wrong, b"place", &encrypted.bytes).expect_err("another key").contains("another key"));
        let gone = keys(&config(&[("new", 2)]));
        let said = read(&gone, b"place", &encrypted.bytes).expect_err("has no such key");
        assert!(said.contains("aesgcm:old") && said.contains("name it there"), "{said}");
        assert!(gone.takes_plain(&secrets).expect_err("takes none").contains("identity: {}"));
        assert_eq!(gone.takes_plain(&maps), Ok(()));
        assert!(!format!("{both:?}").contains("AgIC"), "no secret is shown");
    }

    #[test]
    fn a_store_goes_from_one_provider_to_another() {
        use base64::Engine as _;
        let key = |provider: &str| {
            let secret = base64::engine::general_purpose::STANDARD.encode([4; 32]);
            format!("{{{provider}: {{keys: [{{name: k, secret: {secret}}}]}}}}")
        };
        let config = |providers: &[&str]| {
            let providers: Vec<String> = providers.iter().map(|provider| key(provider)).collect();
            format!(
                "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: \
                 [secrets]\n  providers: [{}]\n",
                providers.join(", ")
            )
        };
        let secrets = GroupResource::core("secrets");
        for (old, new) in [("aescbc", "secretbox"), ("secretbox", "aesgcm"), ("aesgcm", "aescbc")] {
            let before = keys(&config(&[old]));
            let sealed = before.encrypt(&secrets, b"place", b"hunter2").expect("encrypts").expect("is to be");
            assert_eq!(*sealed.key, format!("{old}:k"));
            let both = keys(&config(&[new, old]));
            assert_eq!(both.key_for(&secrets).as_deref(), Some(format!("{new}:k").as_str()));
            assert_eq!(both.decrypt(&secrets, &sealed.key, b"place", &sealed.bytes).as_deref(), Ok(&b"hunter2"[..]));
            let after = keys(&config(&[new]));
            assert!(after.decrypt(&secrets, &sealed.key, b"place", &sealed.bytes).expect_err("is gone").contains(old));
        }
    }

    #[tokio::test]
    async fn an_engine_is_told_of_new_keys_for_what_they_are_about() {
        use std::time::Duration;

        use arktos_core::{Encoded, Object, ObjectKey, ObjectPath, Timestamp, TypeMeta};
        use arktos_store::clock::ManualClock;
        use arktos_store::encryption::Encryption;
        use arktos_store::log::{LogJournal, LogOptions};
        use arktos_store::{Change, Commit, EngineConfig, Expect};

        let directory = tempfile::tempdir().expect("a directory");
        let keys = Arc::new(keys(&config(&[("old", 1)])));
        let journal = LogJournal::open(directory.path(), LogOptions::default()).expect("opens");
        let mut options = EngineConfig::default();
        options.encryption = Encryption::By(keys.clone());
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let engine = Engine::open(Box::new(journal), options, clock).expect("opens");
        let following = tokio::spawn(keys.clone().follow(engine.clone()));
        tokio::task::yield_now().await;
        let mut revisions = Vec::new();
        for (kind, resource) in [("Secret", "secrets"), ("ConfigMap", "configmaps")] {
            let type_meta = Arc::new(TypeMeta::new("", "v1", kind));
            let object = Encoded::encode(&type_meta, &Object::new(&type_meta, "a"), &[]).expect("encodes");
            let resource = GroupResource::core(resource);
            let key = ObjectKey { resource: resource.clone(), path: ObjectPath::new("acme", "n", "a") };
            let done = engine.commit(Commit::one(key, Expect::Absent, Change::put(object))).await.expect("commits");
            assert!(!engine.is_stale(&resource, done.revision));
            revisions.push((resource, done.revision));
        }
        keys.replace(Config::parse(config(&[("new", 2), ("old", 1)]).as_bytes()).expect("reads"));
        let [(secrets, secret), (maps, map)] = revisions.try_into().expect("two");
        for _ in 0..10_000 {
            if engine.is_stale(&secrets, secret) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(engine.is_stale(&secrets, secret) && !engine.is_stale(&maps, map));
        following.abort();
        engine.close().await;
    }
}
