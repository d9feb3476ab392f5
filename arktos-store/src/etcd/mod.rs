//! etcd as a backend: one store that several API servers share.
//!
//! etcd orders and numbers the writes. A commit is one transaction; one watch of the whole prefix feeds each engine,
//! which serves all reads and watches from its own copy. It needs a tokio runtime, on which the client library keeps
//! its connections.
//!
//! # What is kept
//!
//! ```text
//!  <prefix>/c/<counter>                          ─► value (i64, little-endian)
//!  <prefix>/o/<resource>/<tenant>/<ns>/<name>    ─► place in its transaction (u8), object
//!  <prefix>/r                                    ─► time of the last transaction (i64, microseconds)
//!  <prefix>/v                                    ─► format
//!  <prefix>/x/<resource>/<tenant>/<ns>/<name>    ─► nothing; is there while the object is marked for deletion
//! ```
//!
//! * Every transaction writes `r`, so a read of that one key tells up to where a reader must have been fed to have seen
//!   everything, whatever else goes on in the etcd cluster.
//! * `x` lets a guard ask for "there, and not being deleted" without a conflict when the object changes in other ways.
//! * One watch covers `c`, `o` and `r`.
//!
//! # Revisions
//!
//! etcd gives all writes of a transaction one revision; here each has its own: `etcd's revision × 256 + place`, where
//! the place is that of the write among the transaction's object writes. So revisions rise with etcd's, and jump.
//!
//! # Limits
//!
//! etcd takes 128 operations in a transaction and 1.5 MiB in a request, unless it is started with others
//! (`--max-txn-ops`, `--max-request-bytes`). A commit needs one operation or two for each write and each guard, one for
//! each counter, and one more; at most 256 writes whatever etcd allows.

mod convert;
mod feed;
mod load;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectKey, Revision, Timestamp};
use async_trait::async_trait;
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, GetOptions, GetResponse, Identity, TlsOptions, Txn, TxnOp,
    TxnResponse,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::convert::Keys;
use crate::clock::Clock;
use crate::codec::Reader;
use crate::commit::{Change, Commit, CommitError, Committed, Expect};
use crate::engine::Publisher;
use crate::storage::{OpenError, Restore, Storage};

/// What is written at `v`.
const FORMAT: &str = "arktos 1";
/// How many locks the counters share.
const TURNS: usize = 64;
/// How often a request is tried, for each member, that did not reach the member it was for.
const ATTEMPTS: usize = 4;

/// Where an etcd cluster is, and how to talk to it.
#[derive(Clone)]
#[non_exhaustive]
pub struct EtcdOptions {
    /// The members' client URLs, such as `https://10.0.0.1:2379`. When one does not answer, another is asked.
    pub endpoints: Vec<String>,
    /// What all keys begin with. Two stores in one cluster need two. Default: `/arktos`.
    pub prefix: String,
    /// User name and password, where etcd asks for them.
    pub user: Option<(String, String)>,
    /// Certificates, for `https` endpoints.
    pub tls: Option<EtcdTls>,
    /// How long a request may take. Default: 10 s.
    pub request_timeout: Duration,
    /// How long a connection may take. Default: 5 s.
    pub connect_timeout: Duration,
    /// Whether this store lets etcd forget history that has left the window. Default: yes. etcd compacts its whole
    /// history: say no where others in the same cluster need it for longer.
    pub compact: bool,
}

/// Certificates for etcd, as PEM.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct EtcdTls {
    /// The authority that signed the members' certificates; the system's own when absent.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate and key, where etcd asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the members' certificates, where it is not the host in the endpoint.
    pub server_name: Option<String>,
}

/// A store in an etcd cluster.
pub struct Etcd {
    client: Client,
    keys: Keys,
    clock: Arc<dyn Clock>,
    compacts: bool,
    /// How often a request is tried that did not reach the member it was for.
    attempts: usize,
    /// What is known of the store. Written by `load`, the feed, and commits.
    known: Mutex<Known>,
    /// Whoever changes counters takes turns with the others of this process, rather than all but one failing: the
    /// counters share these by their hash, and they are held across a transaction.
    turns: Vec<tokio::sync::Mutex<()>>,
    /// Written by `close`.
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    /// Everything up to this revision of etcd has been taken in.
    position: i64,
    /// The counters, each with the revision of etcd at which it was so. A hint, never relied on.
    counters: HashMap<Arc<str>, (i64, i64)>,
    /// What is to be deleted, and when; an entry whose object has another revision by now means nothing.
    expiries: BTreeMap<(Timestamp, Revision), ObjectKey>,
    reader: Reader,
    /// Where the history stood, and when: for compaction.
    samples: Vec<(Timestamp, i64)>,
}

impl EtcdOptions {
    /// The usual options for a cluster at these endpoints.
    #[must_use]
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: "/arktos".to_owned(),
            user: None,
            tls: None,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            compact: true,
        }
    }

    fn connect_options(&self) -> ConnectOptions {
        // Every request asks for a leader, so that a member that was cut off says so rather than serve what is old.
        let mut options = ConnectOptions::new()
            .with_require_leader(true)
            .with_timeout(self.request_timeout)
            .with_connect_timeout(self.connect_timeout)
            .with_keep_alive(Duration::from_secs(10), Duration::from_secs(5))
            .with_keep_alive_while_idle(true)
            .with_auto_token_refresh(true);
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password);
        }
        if let Some(tls) = &self.tls {
            let mut config = TlsOptions::new();
            config = match &tls.ca {
                Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
                None => config.with_enabled_roots(),
            };
            if let Some((certificate, key)) = &tls.identity {
                config = config.identity(Identity::from_pem(certificate, key));
            }
            if let Some(name) = &tls.server_name {
                config = config.domain_name(name);
            }
            options = options.with_tls(config);
        }
        options
    }
}

impl Etcd {
    /// Connects to a cluster, for [`Engine::shared`](crate::Engine::shared).
    ///
    /// # Errors
    /// [`OpenError`]: it does not answer, refuses the user, or what is there is of another format.
    pub async fn connect(options: &EtcdOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let place = options.endpoints.join(",");
        let failed = |error: etcd_client::Error| OpenError::Other(format!("etcd at {place}: {error}"));
        let client = Client::connect(&options.endpoints, Some(options.connect_options())).await.map_err(failed)?;
        let keys = Keys::new(&options.prefix);
        let version = keys.version();
        let claim = Txn::new()
            .when([Compare::mod_revision(version.clone(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(version.clone(), FORMAT, None)])
            .or_else([TxnOp::get(version, None)]);
        let attempts = ATTEMPTS * options.endpoints.len();
        let claimed = try_members(attempts, || {
            let (mut kv, claim) = (client.kv_client(), claim.clone());
            async move { kv.txn(claim).await }
        });
        let claimed = claimed.await.map_err(failed)?;
        for response in claimed.op_responses() {
            let etcd_client::TxnOpResponse::Get(found) = response else { continue };
            let found = found.kvs().first().map(|entry| String::from_utf8_lossy(entry.value()).into_owned());
            if let Some(found) = found.filter(|found| found != FORMAT) {
                let place = format!("{}/v in etcd at {place}", options.prefix);
                return Err(OpenError::Format { place, found, known: FORMAT.to_owned() });
            }
        }
        Ok(Self {
            client,
            keys,
            clock,
            compacts: options.compact,
            attempts,
            known: Mutex::default(),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
            closing: watch::Sender::new(false),
        })
    }
}

impl Etcd {
    async fn get(&self, key: String, options: Option<GetOptions>) -> Result<GetResponse, etcd_client::Error> {
        try_members(self.attempts, || {
            // a page may hold a thousand objects, whatever their size
            let mut kv = self.client.kv_client().max_decoding_message_size(i32::MAX as usize);
            let (key, options) = (key.clone(), options.clone());
            async move { kv.get(key, options).await }
        })
        .await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, etcd_client::Error> {
        try_members(self.attempts, || {
            let mut kv = self.client.kv_client().max_decoding_message_size(i32::MAX as usize);
            let txn = txn.clone();
            async move { kv.txn(txn).await }
        })
        .await
    }
}

/// Tries a request again for as long as it does not even reach a member: others may be up.
async fn try_members<R, F>(attempts: usize, request: impl Fn() -> F) -> Result<R, etcd_client::Error>
where
    F: Future<Output = Result<R, etcd_client::Error>>,
{
    for _ in 1..attempts {
        match request().await {
            Err(error) if convert::was_not_sent(&error) => {}
            other => return other,
        }
    }
    request().await
}

#[async_trait]
impl Storage for Etcd {
    async fn load(&self, restore: &mut Restore) -> Result<(), OpenError> {
        let loaded = self.load_all().await.map_err(|error| OpenError::Other(format!("etcd: {error}")))?;
        let mut known = self.known.lock();
        known.take_in(&loaded);
        loaded.fill(restore);
        Ok(())
    }

    async fn feed(&self, publisher: Publisher) {
        self.follow(&publisher).await;
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        if *self.closing.borrow() {
            return Err(CommitError::Closed);
        }
        self.transact(&commit).await
    }

    async fn confirm(&self) -> Result<Revision, CommitError> {
        let read =
            self.client.kv_client().get(self.keys.last(), None).await.map_err(|error| convert::refusal(&error))?;
        Ok(read.kvs().first().map_or(Revision::ZERO, |last| convert::revision(last.mod_revision(), 0)))
    }

    async fn expire(&self, now: Timestamp) -> Result<usize, CommitError> {
        let due = {
            let mut known = self.known.lock();
            let later = known.expiries.split_off(&(now.later(Duration::from_micros(1)), Revision::ZERO));
            std::mem::replace(&mut known.expiries, later)
        };
        let mut due = due.into_iter();
        let mut deleted = 0;
        while let Some(((at, revision), key)) = due.next() {
            match self.transact(&Commit::one(key.clone(), Expect::At(revision), Change::Delete)).await {
                Ok(_) => deleted += 1,
                Err(CommitError::Conflict { .. }) => {} // written anew since, or another engine was faster
                Err(error) => {
                    let mut known = self.known.lock();
                    known.expiries.insert((at, revision), key);
                    known.expiries.extend(due);
                    return Err(error);
                }
            }
        }
        Ok(deleted)
    }

    async fn compact(&self, window: Duration) {
        let Some(revision) = self.known.lock().compactable(self.clock.now(), window) else { return };
        if !self.compacts {
            return;
        }
        if let Err(error) = self.client.kv_client().compact(revision, None).await {
            // often enough another engine was faster
            tracing::debug!(revision, %error, "etcd was not compacted");
        }
    }

    async fn close(&self) {
        self.closing.send_replace(true);
    }
}

impl Known {
    /// The newest revision of etcd that has left the window, once.
    fn compactable(&mut self, now: Timestamp, window: Duration) -> Option<i64> {
        if self.samples.last().is_none_or(|(at, _)| now.since(*at) >= window / 16) && self.position > 0 {
            self.samples.push((now, self.position));
        }
        let old = self.samples.partition_point(|(at, _)| now.since(*at) > window);
        let newest = self.samples.drain(..old).next_back();
        newest.map(|(_, revision)| revision)
    }

    /// Notes a counter, unless something newer is known.
    fn count(&mut self, counter: &Arc<str>, value: i64, at: i64) {
        let known = self.counters.entry(counter.clone()).or_insert((0, 0));
        if at > known.1 {
            *known = (value, at);
        }
        if known.0 == 0 {
            self.counters.remove(counter);
        }
    }
}
