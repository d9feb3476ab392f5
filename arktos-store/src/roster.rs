//! Those one works with, by name: a fixed list, or as somebody tells who comes and goes.
//!
//! A scheduler works with resource managers, a resource manager with partitions, an aggregator with both. Who there is
//! says a list on the command line, or a directory that is followed while everything runs.
//!
//! **Unreachable is not gone.** Who is [`Members::present`] may not answer; who is neither present nor
//! [`Members::removed`] is not known yet, and nothing follows from that. Only what was removed has left for good.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::client::Client;

/// A name, and the API behind it.
pub type Named = (String, Arc<dyn Client>);

/// Who is on a roster at one moment.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Members {
    /// Those there are, in the order in which they joined. The client behind a name stays the same.
    pub present: Vec<Named>,
    /// The names of those that were removed for good. None of them comes back.
    pub removed: BTreeSet<String>,
    /// Whether these are all: whoever tells of them has had the whole list.
    pub complete: bool,
}

impl Members {
    /// These, without those that were removed; all there are, or those that are known so far.
    #[must_use]
    pub fn new(present: Vec<Named>, removed: BTreeSet<String>, complete: bool) -> Self {
        Self { present, removed, complete }
    }

    /// The API behind a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Client>> {
        self.present.iter().find(|(known, _)| known == name).map(|(_, client)| client)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.present.iter().map(|(name, _)| name).collect();
        f.debug_struct("Members")
            .field("present", &names)
            .field("removed", &self.removed)
            .field("complete", &self.complete)
            .finish()
    }
}

/// Who there is, now and later. Cloning it gives another reader of the same.
#[derive(Clone, Debug)]
pub struct Roster(watch::Receiver<Arc<Members>>);

impl Roster {
    /// One that somebody else keeps, through the other end of this channel.
    #[must_use]
    pub fn followed(members: watch::Receiver<Arc<Members>>) -> Self {
        Self(members)
    }

    /// Who there is now.
    #[must_use]
    pub fn now(&self) -> Arc<Members> {
        self.0.borrow().clone()
    }

    /// Completes when there is something to be looked at that this reader has not waited for yet; never, for a fixed
    /// list. Cancel safe.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Completes when who there is is known. Cancel safe.
    pub async fn complete(&self) {
        let mut members = self.0.clone();
        if members.wait_for(|members| members.complete).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl From<Vec<Named>> for Roster {
    /// A fixed list.
    fn from(present: Vec<Named>) -> Self {
        Self(watch::channel(Arc::new(Members::new(present, BTreeSet::new(), true))).1)
    }
}
