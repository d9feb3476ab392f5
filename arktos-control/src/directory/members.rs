//! Who there is, as the directory says, and how each is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arktos_core::Timestamp;
use arktos_core::typed::{Member, MemberKind, Phase};
use arktos_store::informer::{Decode, Event, Located, Parsed};
use arktos_store::roster::{self, Roster};
use arktos_store::{Client, Clock, Informer, Query, Random};
use futures::future::BoxFuture;
use tokio::sync::watch;

/// How a member is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// The member's name, for which its certificate is valid.
    pub name: String,
    /// Where its processes serve, as `https://host:port`.
    pub servers: Vec<String>,
    /// Who signed its certificates, PEM in base64; the region's own authority when empty.
    pub ca_bundle: String,
}

/// One member, with whatever is made of it by who follows it.
pub struct Followed<T> {
    /// Its name.
    pub name: Arc<str>,
    /// What was made of it when it was first seen.
    pub reached: T,
    /// What is to become of it.
    pub phase: Phase,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was last heard of, by the clock here.
    heard: Arc<AtomicI64>,
}

impl<T> Followed<T> {
    /// When it was last heard of, by the clock here: when the directory was first asked, for one that says nothing.
    #[must_use]
    pub fn heard(&self) -> Timestamp {
        Timestamp::from_micros(self.heard.load(Ordering::Relaxed))
    }
}

/// Who there is at one moment.
pub struct Members<T> {
    /// Those that have registered and were not removed, in the order in which they were seen first.
    pub present: Vec<Arc<Followed<T>>>,
    /// The names of those that were removed.
    pub removed: BTreeSet<String>,
    /// Whether the directory has given a complete list.
    pub complete: bool,
}

impl<T> Members<T> {
    /// The member of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Followed<T>>> {
        self.present.iter().find(|member| *member.name == *name)
    }
}

/// Follows the members of a kind. `make` makes what there is to be had of each, once, from how it is reached, now and
/// later. The future keeps it current; the owner runs it.
pub fn follow<T: Clone + Send + Sync + 'static>(
    kind: MemberKind,
    directory: Arc<dyn Client>,
    make: impl Fn(watch::Receiver<Contact>) -> T + Send + 'static,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> (watch::Receiver<Arc<Members<T>>>, BoxFuture<'static, ()>) {
    let first = Members { present: Vec::new(), removed: BTreeSet::new(), complete: false };
    let (told, members) = watch::channel(Arc::new(first));
    let tell = told.clone();
    let mut known = Known { make, entries: Vec::new(), removed: BTreeSet::new(), kind };
    let now = clock.clone();
    let query = Query::everywhere(kind.resource());
    let (informer, driver) = Informer::<Parsed<Member>>::builder(directory, query, clock.clone(), random.clone())
        .handler(move |event| {
            let changed = match event {
                Event::Added { new, .. } | Event::Updated { new, .. } => known.see(new, now.now()),
                Event::Removed { old, .. } => known.lose(old),
            };
            if changed {
                let (present, removed) = (known.present(), known.removed.clone());
                tell.send_modify(|members| {
                    *members = Arc::new(Members { present, removed, complete: members.complete });
                });
            }
        })
        .build();
    let complete = async move {
        if informer.synced().await.is_ok() {
            told.send_modify(|members| {
                let (present, removed) = (members.present.clone(), members.removed.clone());
                *members = Arc::new(Members { present, removed, complete: true });
            });
        }
        std::future::pending::<()>().await;
    };
    let driver = async move {
        futures::future::join(complete, driver).await;
    };
    (members, Box::pin(driver))
}

/// The members as a roster of clients, and the future that keeps it.
pub fn roster(mut members: watch::Receiver<Arc<Members<Arc<dyn Client>>>>) -> (Roster, BoxFuture<'static, ()>) {
    let of = |members: &Members<Arc<dyn Client>>| {
        let named = |member: &Arc<Followed<Arc<dyn Client>>>| (member.name.to_string(), member.reached.clone());
        let present = members.present.iter().map(named).collect();
        Arc::new(roster::Members::new(present, members.removed.clone(), members.complete))
    };
    let first = of(&members.borrow_and_update());
    let (told, roster) = watch::channel(first);
    let driver = async move {
        while members.changed().await.is_ok() {
            let next = of(&members.borrow_and_update());
            told.send_replace(next);
        }
        std::future::pending::<()>().await;
    };
    (Roster::followed(roster), Box::pin(driver))
}

/// What was seen of the members. A plain state machine: told what the directory says, it says whether that is news.
struct Known<T, M> {
    kind: MemberKind,
    make: M,
    entries: Vec<Entry<T>>,
    removed: BTreeSet<String>,
}

struct Entry<T> {
    member: Arc<Followed<T>>,
    contact: watch::Sender<Contact>,
    epoch: i64,
}

impl<T: Clone, M: Fn(watch::Receiver<Contact>) -> T> Known<T, M> {
    fn present(&self) -> Vec<Arc<Followed<T>>> {
        self.entries.iter().map(|entry| entry.member.clone()).collect()
    }

    fn see(&mut self, seen: &Parsed<Member>, now: Timestamp) -> bool {
        let (name, phase) = (seen.source().path().name(), seen.spec.phase());
        if phase == Phase::Removed || self.removed.contains(name) {
            self.entries.retain(|entry| *entry.member.name != *name);
            return self.removed.insert(name.to_owned());
        }
        let servers: Vec<String> = seen.status.servers.iter().map(|server| server.url.clone()).collect();
        let contact = Contact { name: name.to_owned(), servers, ca_bundle: seen.spec.ca_bundle.clone() };
        let Some(entry) = self.entries.iter_mut().find(|entry| *entry.member.name == *name) else {
            return self.add(seen, contact, now);
        };
        entry.member.heard.store(now.as_micros(), Ordering::Relaxed);
        if !contact.servers.is_empty() {
            // a process that was started anew is told of, although it may be where it was
            let restarted = std::mem::replace(&mut entry.epoch, seen.status.epoch) != seen.status.epoch;
            entry.contact.send_if_modified(|known| {
                let news = restarted || *known != contact;
                *known = contact;
                news
            });
        }
        let labels = &seen.metadata.labels;
        if entry.member.phase == phase && entry.member.labels == *labels {
            return false;
        }
        let (name, heard) = (entry.member.name.clone(), entry.member.heard.clone());
        let reached = entry.member.reached.clone();
        entry.member = Arc::new(Followed { name, reached, phase, labels: labels.clone(), heard });
        true
    }

    fn add(&mut self, seen: &Parsed<Member>, contact: Contact, now: Timestamp) -> bool {
        if contact.servers.is_empty() {
            return false; // its operator has made it known, and it has not registered yet
        }
        let (contact, reads) = watch::channel(contact);
        let member = Followed {
            name: seen.source().path().name().into(),
            reached: (self.make)(reads),
            phase: seen.spec.phase(),
            labels: seen.metadata.labels.clone(),
            heard: Arc::new(AtomicI64::new(now.as_micros())),
        };
        tracing::info!(kind = %self.kind, name = %member.name, "a member of the region has joined");
        self.entries.push(Entry { member: Arc::new(member), contact, epoch: seen.status.epoch });
        true
    }

    /// Its object was deleted. That is nobody's word that it is gone: it registers again with its next heartbeat.
    fn lose(&self, old: &Parsed<Member>) -> bool {
        if !self.removed.contains(old.source().path().name()) {
            let name = old.source().path().name();
            let text = "a member was deleted from the directory instead of removed: it stays a member";
            tracing::warn!(kind = %self.kind, name, "{text}");
        }
        false
    }
}
