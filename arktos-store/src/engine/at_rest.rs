//! Where what is kept is encrypted, and decrypted when it comes back.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arktos_core::{Encoded, GroupResource, ObjectKey, ObjectPath, Revision};

use super::sync::Mutex;
use crate::commit::{Change, Commit, CommitError};
use crate::encryption::{self, Cipher, Encryption};
use crate::select::Stored;
use crate::storage::{Group, OpenError, Record};

/// How an engine's objects are kept.
pub(crate) struct AtRest {
    encryption: Encryption,
    /// Up to which revision objects of a resource may be kept otherwise than they would be today. Written when such
    /// are found, and when keys change.
    stale: Mutex<HashMap<GroupResource, Revision>>,
    /// The journal is to begin anew before the next append. Written by whoever changes keys, and by the committer.
    renew: AtomicBool,
}

impl AtRest {
    pub(crate) fn new(encryption: Encryption) -> Self {
        Self { encryption, stale: Mutex::default(), renew: AtomicBool::new(false) }
    }

    fn cipher(&self) -> Option<&Arc<dyn Cipher>> {
        match &self.encryption {
            Encryption::By(cipher) => Some(cipher),
            Encryption::Plain | Encryption::AsFound => None,
        }
    }

    /// Whether anything is encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        self.cipher().is_some()
    }

    /// An object as it is to be kept.
    fn hide(&self, resource: &GroupResource, path: &ObjectPath, object: &Encoded) -> Result<Option<Encoded>, String> {
        let Some(cipher) = self.cipher().filter(|cipher| cipher.key_for(resource).is_some()) else { return Ok(None) };
        let plain = encryption::plain(object);
        let encrypted = cipher.encrypt(resource, &encryption::bound(resource, path), &plain)?;
        let Some(encrypted) = encrypted else { return Ok(None) };
        let hidden = encryption::wrapped(object, &encrypted);
        hidden.map(Some).ok_or_else(|| format!("{resource} {path} is too large to be encrypted"))
    }

    /// A group as it is to be kept.
    pub(crate) fn hide_group<'a>(&self, group: &'a Group) -> Result<Cow<'a, Group>, String> {
        let mut group = Cow::Borrowed(group);
        if !self.encrypts() {
            return Ok(group);
        }
        for at in 0..group.records.len() {
            let Some(Record { key, change: Change::Put { object, .. }, .. }) = group.records.get(at) else { continue };
            let Some(hidden) = self.hide(&key.resource, &key.path, object)? else { continue };
            if let Some(Record { change: Change::Put { object, .. }, .. }) = group.to_mut().records.get_mut(at) {
                *object = hidden;
            }
        }
        Ok(group)
    }

    /// A commit as a shared store is to have it.
    pub(crate) fn hide_commit(&self, mut commit: Commit) -> Result<Commit, CommitError> {
        for write in &mut commit.writes {
            let Change::Put { object, .. } = &mut write.change else { continue };
            let hidden = self.hide(&write.key.resource, &write.key.path, object);
            if let Some(hidden) = hidden.map_err(|why| CommitError::Poisoned(why.into()))? {
                *object = hidden;
            }
        }
        Ok(commit)
    }

    /// A stored object as it is to be kept; none where it cannot be, which is said.
    pub(crate) fn hide_stored(&self, resource: &GroupResource, stored: Arc<Stored>) -> Option<Arc<Stored>> {
        match self.hide(resource, &stored.path, &stored.object) {
            Ok(None) => Some(stored),
            Ok(Some(object)) => Some(Arc::new(Stored { object, ..(*stored).clone() })),
            Err(why) => {
                tracing::error!(why, "an object is not kept");
                None
            }
        }
    }

    /// An object as it is, from how it was kept.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub(crate) fn show(
        &self,
        resource: &GroupResource,
        path: &ObjectPath,
        revision: Revision,
        object: &Encoded,
    ) -> Result<Option<Encoded>, String> {
        let wrong = |why: String| format!("{resource} {path} {why}");
        let found = encryption::parts(object);
        let cipher = match (&self.encryption, found) {
            (Encryption::AsFound, _) | (Encryption::Plain, None) => return Ok(None),
            (Encryption::Plain, Some((key, _))) => {
                return Err(wrong(format!("is encrypted with the key {key}, and no keys were given: give them")));
            }
            (Encryption::By(cipher), _) => cipher,
        };
        if found.map(|(key, _)| key) != cipher.key_for(resource).as_deref() {
            self.note_stale(resource, revision);
        }
        let Some((key, bytes)) = found else { return cipher.takes_plain(resource).map(|()| None).map_err(wrong) };
        let plain = cipher.decrypt(resource, key, &encryption::bound(resource, path), bytes).map_err(wrong)?;
        let shown = encryption::unwrapped(object, &plain);
        shown.map(Some).ok_or_else(|| wrong("does not read as an object: restore a backup".to_owned()))
    }

    /// A group as it is, from how it was kept.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    pub(crate) fn show_group<'a>(&self, group: &'a Group) -> Result<Cow<'a, Group>, String> {
        let mut group = Cow::Borrowed(group);
        for at in 0..group.records.len() {
            let Some(Record { key, revision, change: Change::Put { object, .. } }) = group.records.get(at) else {
                continue;
            };
            let Some(shown) = self.show(&key.resource, &key.path, *revision, object)? else { continue };
            if let Some(Record { change: Change::Put { object, .. }, .. }) = group.to_mut().records.get_mut(at) {
                *object = shown;
            }
        }
        Ok(group)
    }

    /// The outcome of a commit in a shared store, with what it has found as it is.
    pub(crate) fn show_found(&self, error: CommitError) -> CommitError {
        let show = |key: &ObjectKey, found: Option<Stored>| -> Result<Option<Stored>, CommitError> {
            let Some(stored) = found else { return Ok(None) };
            let shown = self.show(&key.resource, &stored.path, stored.revision, &stored.object);
            match shown.map_err(|why| CommitError::Unavailable(why.into()))? {
                Some(object) => Ok(Some(Stored { object, ..stored })),
                None => Ok(Some(stored)),
            }
        };
        match error {
            CommitError::Conflict { key, found } => match show(&key, found) {
                Ok(found) => CommitError::Conflict { key, found },
                Err(error) => error,
            },
            CommitError::Guarded { key, found } => match show(&key, found) {
                Ok(found) => CommitError::Guarded { key, found },
                Err(error) => error,
            },
            other => other,
        }
    }

    /// Lets the journal begin anew.
    pub(crate) fn renew(&self) {
        self.renew.store(true, Ordering::Release);
    }

    /// Whether the journal is to begin anew; once for each time it was said.
    pub(crate) fn is_renewed(&self) -> bool {
        self.renew.load(Ordering::Relaxed) && self.renew.swap(false, Ordering::AcqRel)
    }

    /// Whether an object may be kept otherwise than it would be today.
    pub(crate) fn is_stale(&self, resource: &GroupResource, revision: Revision) -> bool {
        self.encrypts() && self.stale.lock().get(resource).is_some_and(|until| revision <= *until)
    }

    /// Objects of a resource up to a revision may be kept otherwise than they would be today.
    pub(crate) fn note_stale(&self, resource: &GroupResource, until: Revision) {
        let mut stale = self.stale.lock();
        let known = stale.entry(resource.clone()).or_default();
        *known = (*known).max(until);
    }
}

/// A store that was found encrypted otherwise than it can be read.
pub(crate) fn refused(why: Option<String>) -> Result<(), OpenError> {
    why.map_or(Ok(()), |why| Err(OpenError::Encrypted(why)))
}
