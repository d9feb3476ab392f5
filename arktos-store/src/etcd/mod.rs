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
//!   everything, whatever else goes on in the etcd cluster; and etcd's count of its versions shows when one is missing.
//! * `x` lets a guard ask for "there, and not being deleted" without a conflict when the object changes in other ways.
//! * One watch covers `c`, `o` and `r`.
//!
//! # Revisions
//!
//! etcd gives all writes of a transaction one revision; here each has its own: `etcd's revision × 256 + place`, where
//! the place is that of the write among the transaction's object writes. So revisions rise with etcd's, and jump. Every
//! process comes to the same numbers: the place of a stored object is in its value, and that of a deletion follows from
//! the order in which etcd tells of a transaction, which is the order of its operations. A transaction becomes visible
//! whole, and a state that holds everything up to a revision of etcd is at `etcd's revision × 256 + 255` in every
//! process: a list from one can be followed by a watch at another.
//!
//! # What can happen
//!
//! * **A member dies, stands still, or is cut off.** One member is asked for as long as it answers, then the next; the
//!   watch goes where the requests go. A request takes no longer than [`EtcdOptions::request_timeout`], whatever
//!   happens to it.
//! * **There is no leader, or nobody to be reached.** Nothing happened, and that is said:
//!   [`CommitError::Unavailable`]. Reads of what is known go on.
//! * **The answer to a transaction is lost.** [`CommitError::Unknown`]: it is not sent a second time. Whoever asked
//!   looks, and decides.
//! * **The watch ends, or falls silent.** It is opened anew where it was; overlaps are passed over. When it
//!   stays silent it is asked for a sign of life.
//! * **etcd has forgotten what was missed**, since it was compacted meanwhile: the state is loaded anew, and every
//!   cursor ends with [`WatchError::Compacted`](crate::WatchError::Compacted). So it is when a transaction is not told
//!   of, for whatever reason. A store in which nothing was written meanwhile is spared that.
//! * **etcd was put back to an older state** while processes ran, from a backup and without a higher revision. They
//!   notice, say so, and take no more commits: [`CommitError::Unavailable`].
//! * **A token is no longer good.** A new one is got, for requests and for the watch.
//! * **The state is large.** It is loaded in pages of some megabytes, all at one revision; when that is compacted
//!   meanwhile, the load begins anew at a newer one.
//!
//! # Limits
//!
//! etcd takes 128 operations in a transaction and 1.5 MiB in a request, unless it is started with others
//! (`--max-txn-ops`, `--max-request-bytes`). A commit needs one operation or two for each write and each guard, one for
//! each counter, and one more; at most 256 writes whatever etcd allows.

mod convert;
mod failed;
mod feed;
mod load;
mod members;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arktos_core::{ObjectKey, Revision, Timestamp};
use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, GetOptions, GetResponse, ResponseHeader, Txn, TxnOp, TxnResponse};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::convert::Keys;
use self::failed::{Failed, Why};
use self::members::{Members, Repeat};
use crate::clock::Clock;
use crate::codec::Reader;
use crate::commit::{Change, Commit, CommitError, Committed, Expect, Write};
use crate::engine::Publisher;
use crate::storage::{OpenError, Restore, Storage};

/// What is written at `v`.
const FORMAT: &str = "arktos 1";
/// How many objects expire in one transaction, which etcd's limit on operations leaves room for.
const EXPIRED_MAX: usize = 32;
/// How many locks the counters share.
const TURNS: usize = 64;
/// What is said when etcd was put back to an older state.
const GONE_BACK: &str = "etcd has gone back to an older state: start every process of this store anew";
/// The most bytes of an answer: none that etcd gives is refused, a page may hold objects of any size.
const ANSWER_MAX: usize = i32::MAX as usize;

/// Where an etcd cluster is, and how to talk to it.
#[derive(Clone)]
#[non_exhaustive]
pub struct EtcdOptions {
    /// The members' client URLs, such as `https://10.0.0.1:2379`, all `http` or all `https`. The first is asked for as
    /// long as it answers, then the next: give each process another order.
    pub endpoints: Vec<String>,
    /// What all keys begin with. Two stores in one cluster need two. Default: `/arktos`.
    pub prefix: String,
    /// User name and password, where etcd asks for them.
    pub user: Option<(String, String)>,
    /// Certificates, for `https` endpoints. Without, members must have certificates that the system trusts.
    pub tls: Option<EtcdTls>,
    /// How long a request may take, all told, whatever members are asked. Default: 10 s.
    pub request_timeout: Duration,
    /// How long a connection to one member may take, TLS included. Default: 2 s; at most half of `request_timeout`.
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
    members: Members,
    keys: Keys,
    clock: Arc<dyn Clock>,
    compacts: bool,
    /// What is known of the store. Written by `load`, the feed, and commits.
    known: Mutex<Known>,
    /// Whoever changes counters takes turns with the others of this process, rather than all but one failing: the
    /// counters share these by their hash, and they are held across a transaction.
    turns: Vec<tokio::sync::Mutex<()>>,
    /// etcd was put back to an older state while this process ran. Written by whoever notices.
    gone_back: AtomicBool,
    /// Written by `close`.
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    /// Everything up to this revision of etcd has been taken in.
    position: i64,
    /// How many transactions there were up to then: `r` counts them, as each writes it.
    transactions: i64,
    /// The counters, each with the revision of etcd at which it was so. A hint, never relied on.
    counters: HashMap<Arc<str>, (i64, i64)>,
    /// What is to be deleted, and when; an entry whose object has another revision by now means nothing.
    expiries: BTreeMap<(Timestamp, Revision), ObjectKey>,
    /// Where in there each object is: one that is written again and again has one entry.
    expiring: HashMap<ObjectKey, (Timestamp, Revision)>,
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
            connect_timeout: Duration::from_secs(2),
            compact: true,
        }
    }

    /// Finds what cannot work however the cluster is.
    fn check(&self) -> Result<(), String> {
        let https = |url: &&String| url.starts_with("https://");
        if let Some(other) = self.endpoints.iter().find(|url| !url.starts_with("http://") && !https(url)) {
            return Err(format!("{other:?} is not an etcd endpoint such as https://10.0.0.1:2379"));
        }
        let secure = self.endpoints.iter().filter(https).count();
        if self.endpoints.is_empty() || (secure > 0 && secure < self.endpoints.len()) {
            return Err("etcd needs one endpoint or several, all with http or all with https".to_owned());
        }
        let Some(tls) = &self.tls else { return Ok(()) };
        if secure == 0 {
            return Err("certificates for etcd are of use with https endpoints alone".to_owned());
        }
        let holds = |pem: &[u8], what: &str| String::from_utf8_lossy(pem).contains(what);
        let certificates = [&tls.ca, &tls.identity.as_ref().map(|(certificate, _)| certificate.clone())];
        if certificates.iter().any(|pem| pem.as_ref().is_some_and(|pem| !holds(pem, "BEGIN CERTIFICATE"))) {
            return Err("what is given as a certificate for etcd holds none (PEM is expected)".to_owned());
        }
        if tls.identity.as_ref().is_some_and(|(_, key)| !holds(key, "PRIVATE KEY")) {
            return Err("what is given as the key for etcd holds none (PEM is expected)".to_owned());
        }
        Ok(())
    }
}

impl Etcd {
    /// Connects to a cluster, for [`Engine::shared`](crate::Engine::shared). Tries for
    /// [`request_timeout`](EtcdOptions::request_timeout), so that a cluster may start, or elect a leader, meanwhile.
    ///
    /// # Errors
    /// [`OpenError`]: it does not answer, refuses the user, or what is there is of another format.
    pub async fn connect(options: &EtcdOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        options.check().map_err(OpenError::Other)?;
        let members = Members::new(options, clock.clone());
        let keys = Keys::new(&options.prefix);
        let version = keys.version();
        let claim = Txn::new()
            .when([Compare::mod_revision(version.clone(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(version.clone(), FORMAT, None)])
            .or_else([TxnOp::get(version, None)]);
        let claimed = members.ask(Repeat::Harmless, |client| {
            let claim = claim.clone();
            async move { client.kv_client().txn(claim).await }
        });
        let claimed = claimed.await.map_err(|failed| {
            let anonymous = options.tls.as_ref().is_none_or(|tls| tls.identity.is_none());
            let secure = options.endpoints.iter().any(|url| url.starts_with("https"));
            let hint = " (it may ask for a certificate: none is given)";
            let hint = if failed.why == Why::Unknown && secure && anonymous { hint } else { "" };
            OpenError::Other(format!("etcd at {failed}{hint}"))
        })?;
        for response in claimed.op_responses() {
            let etcd_client::TxnOpResponse::Get(found) = response else { continue };
            let found = found.kvs().first().map(|entry| String::from_utf8_lossy(entry.value()).into_owned());
            if let Some(found) = found.filter(|found| found != FORMAT) {
                let place = format!("{}/v in etcd at {}", options.prefix, options.endpoints.join(","));
                return Err(OpenError::Format { place, found, known: FORMAT.to_owned() });
            }
        }
        Ok(Self {
            members,
            keys,
            clock,
            compacts: options.compact,
            known: Mutex::default(),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
            gone_back: AtomicBool::new(false),
            closing: watch::Sender::new(false),
        })
    }

    async fn get(&self, key: String, options: Option<GetOptions>) -> Result<GetResponse, Failed> {
        let get = |client: etcd_client::Client| {
            let (key, options) = (key.clone(), options.clone());
            async move { client.kv_client().max_decoding_message_size(ANSWER_MAX).get(key, options).await }
        };
        self.members.ask(Repeat::Harmless, get).await
    }

    /// Checks that etcd is not behind where it was before it was asked.
    ///
    /// What this process shows is then of another past, and revisions come a second time: nothing is committed, and
    /// nothing confirmed, until it is started anew.
    fn goes_forward(&self, header: Option<&ResponseHeader>, before: i64) -> Result<(), Arc<str>> {
        let now = header.map_or(before, ResponseHeader::revision);
        if now < before && !self.gone_back.swap(true, Ordering::Relaxed) {
            tracing::error!(now, before, "{GONE_BACK}");
        }
        self.has_not_gone_back()
    }

    fn has_not_gone_back(&self) -> Result<(), Arc<str>> {
        if self.gone_back.load(Ordering::Relaxed) { Err(GONE_BACK.into()) } else { Ok(()) }
    }

    /// Sends a transaction, and not again if it may have been carried out.
    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Failed> {
        let send = |client: etcd_client::Client| {
            let txn = txn.clone();
            async move { client.kv_client().max_decoding_message_size(ANSWER_MAX).txn(txn).await }
        };
        self.members.ask(Repeat::Never, send).await
    }
}

#[async_trait]
impl Storage for Etcd {
    async fn load(&self, restore: &mut Restore) -> Result<(), OpenError> {
        let loaded = self.load_all().await.map_err(|error| OpenError::Other(format!("etcd at {error}")))?;
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
        self.has_not_gone_back().map_err(CommitError::Unavailable)?;
        self.transact(&commit).await
    }

    async fn confirm(&self) -> Result<Revision, CommitError> {
        let before = self.known.lock().position;
        let read =
            self.get(self.keys.last(), None).await.map_err(|failed| CommitError::Unavailable(failed.text.into()))?;
        self.goes_forward(read.header(), before).map_err(CommitError::Unavailable)?;
        Ok(read.kvs().first().map_or(Revision::ZERO, |last| convert::last_revision(last.mod_revision())))
    }

    async fn expire(&self, now: Timestamp) -> Result<usize, CommitError> {
        let (mut deleted, mut most) = (0, EXPIRED_MAX);
        loop {
            // each is forgotten when it is gone: the future may be dropped at any time
            let due = self.known.lock().due(now, most);
            if due.is_empty() {
                return Ok(deleted);
            }
            match self.transact(&deletion(&due)).await {
                Ok(_) => {
                    deleted += due.len();
                    most = (most * 2).min(EXPIRED_MAX);
                    self.known.lock().settled(&due);
                }
                // written anew since, or another engine was faster
                Err(CommitError::Conflict { key, .. }) => {
                    most = (most / 2).max(1);
                    let due = due.into_iter().filter(|(known, _)| *known == key);
                    self.known.lock().settled(&due.collect::<Vec<_>>());
                }
                Err(CommitError::TooLarge { .. }) if most > 1 => most /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    async fn compact(&self, window: Duration) {
        let Some(revision) = self.known.lock().compactable(self.clock.now(), window) else { return };
        if !self.compacts {
            return;
        }
        let compact = |client: etcd_client::Client| async move { client.kv_client().compact(revision, None).await };
        match self.members.ask(Repeat::Harmless, compact).await {
            Ok(_) => {}
            Err(failed) if failed.why == Why::Compacted => {} // another engine was faster
            Err(failed) => tracing::warn!(revision, %failed, "etcd was not compacted: its history grows"),
        }
    }

    async fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// Deletes objects that are as they were when they were to expire.
fn deletion(due: &[(ObjectKey, Revision)]) -> Commit {
    let writes = due.iter().map(|(key, revision)| Write {
        key: key.clone(),
        expect: Expect::At(*revision),
        change: Change::Delete,
    });
    Commit { writes: writes.collect(), ..Commit::default() }
}

impl Known {
    /// What is to be deleted by now, at most so many: each object, and the revision that it is to have.
    fn due(&self, now: Timestamp, most: usize) -> Vec<(ObjectKey, Revision)> {
        let due = self.expiries.iter().take_while(|((at, _), _)| *at <= now).take(most);
        due.map(|((_, revision), key)| (key.clone(), *revision)).collect()
    }

    /// Notes when an object is to be deleted and which revision it then has, or that it is not to be.
    fn expires(&mut self, key: &ObjectKey, due: Option<(Timestamp, Revision)>) {
        let before = match due {
            Some(due) => self.expiring.insert(key.clone(), due),
            None => self.expiring.remove(key),
        };
        if let Some(before) = before {
            self.expiries.remove(&before);
        }
        if let Some(due) = due {
            self.expiries.insert(due, key.clone());
        }
    }

    /// Forgets what has expired, or will not. What was written since is still to be deleted when it says.
    fn settled(&mut self, due: &[(ObjectKey, Revision)]) {
        for (key, revision) in due {
            if self.expiring.get(key).is_some_and(|(_, known)| known == revision) {
                self.expires(key, None);
            }
        }
    }

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
