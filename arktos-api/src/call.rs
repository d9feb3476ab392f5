//! A request after authorization: who asks, where, for what.

use std::borrow::Cow;
use std::sync::Arc;

use arktos_core::catalog::Kind;
use arktos_core::cel::Purse;
use arktos_core::{Encoded, Object, ObjectKey, Reason, Scope, Status, TenantName, rules};
use arktos_store::{CommitError, Engine, Snapshot, Stored, WatchError, Within};
use parking_lot::Mutex;

use crate::audit::record::Record;
use crate::config::Delegate;
use crate::conversion;
use crate::forced;
use crate::identity::Identity;
use crate::query::WriteOptions;
use crate::server::State;
use crate::warnings::Warnings;

/// What the verbs work on, over HTTP and in process alike.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a State,
    pub(crate) identity: &'a Identity,
    /// The kind in the version asked for.
    pub(crate) kind: Arc<Kind>,
    /// The tenant; absent stands for all of them.
    pub(crate) tenant: Option<TenantName>,
    pub(crate) namespace: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) options: WriteOptions,
    /// What the client is warned of. Written by whoever handles the call.
    pub(crate) warnings: Mutex<Warnings>,
    /// Whether one of Arktos's own clients is answered, which finds some things otherwise: `compat`.
    pub(crate) old: bool,
    /// Where what is found on the way is entered beside the request, if it is.
    pub(crate) record: Option<Arc<Record>>,
    /// What the policies and conditions that are asked about it may cost together.
    pub(crate) purse: Purse,
}

impl Call<'_> {
    /// The kind in the version that is stored.
    pub(crate) fn stored_kind(&self) -> Arc<Kind> {
        if self.kind.storage {
            return self.kind.clone();
        }
        let stored = self.state.kinds.stored(self.tenant.as_ref(), &self.kind.storage_resource);
        stored.unwrap_or_else(|| self.kind.clone())
    }

    /// The kind that an object is admitted as: the stored one, or, of a custom kind, the version it was written in,
    /// which has rules of its own.
    pub(crate) fn admitted_kind(&self) -> Arc<Kind> {
        if self.kind.builtin { self.stored_kind() } else { self.kind.clone() }
    }

    /// An object of the call's kind as it is admitted.
    pub(crate) fn to_admit(&self, object: Object) -> Object {
        let mut object = if self.kind.builtin { rules::convert::to_storage(&self.kind, object) } else { object };
        let admitted = self.admitted_kind();
        object.set(&["apiVersion"], admitted.type_meta.api_version.as_str());
        object.set(&["kind"], admitted.type_meta.kind.as_str());
        rules::date_taints(&admitted, &mut object, &self.state.config.clock.now().to_string());
        object
    }

    /// An admitted object, encoded to be stored.
    ///
    /// # Errors
    /// 400 for an object that cannot be; 500 where only a webhook can tell how, and does not.
    pub(crate) async fn encode(&self, object: &Object) -> Result<Encoded, Status> {
        let stored = self.stored_kind();
        let written = if self.kind.builtin || self.kind.storage {
            Cow::Borrowed(object)
        } else if let Some(converted) = conversion::to_stored(self, object).await? {
            Cow::Owned(converted)
        } else {
            Cow::Owned(rules::convert::to_storage(&self.kind, object.clone()))
        };
        let written = conversion::with_fields(self, &stored, object, written).await?;
        let encoded = stored.encode(&written);
        encoded.map_err(|error| Status::bad_request(error.to_string()))
    }

    /// The engine that the kind is read from.
    pub(crate) fn engine(&self) -> &Engine {
        match self.state.config.delegates.get(&self.kind.storage_resource) {
            Some(delegate) => &delegate.engine,
            None => &self.state.config.engine,
        }
    }

    /// Who writes the kind's objects, where that is somebody else.
    ///
    /// # Errors
    /// 400 for a dry run, which cannot be made there.
    pub(crate) fn writes_elsewhere(&self) -> Result<Option<&Delegate>, Status> {
        let delegate = self.state.config.delegates.get(&self.kind.storage_resource);
        if delegate.is_some() && self.options.dry_run {
            let what = &self.kind.group_resource;
            let text = format!("{what} are kept by another role of the region: dry run is not supported for them here");
            return Err(Status::bad_request(text));
        }
        Ok(delegate)
    }

    /// The key of the object that is asked for.
    ///
    /// # Errors
    /// 400 where a tenant is needed and all are named.
    pub(crate) fn key(&self) -> Result<ObjectKey, Status> {
        self.key_of(&self.name)
    }

    /// The key of an object of this kind, tenant and namespace.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub(crate) fn key_of(&self, name: &str) -> Result<ObjectKey, Status> {
        let resource = self.kind.storage_resource.clone();
        if name.contains('/') || self.namespace.contains('/') {
            return Err(Status::bad_request(format!("{name:?} cannot name an object")));
        }
        Ok(match self.kind.scope {
            Scope::Region => ObjectKey::region_scoped(resource, name),
            Scope::Tenant => ObjectKey::tenant_scoped(resource, self.one_tenant()?, name),
            Scope::Namespace => ObjectKey::namespaced(resource, self.one_tenant()?, &self.namespace, name),
        })
    }

    /// The one tenant that is asked about.
    ///
    /// # Errors
    /// 400 where all are named.
    pub(crate) fn one_tenant(&self) -> Result<&TenantName, Status> {
        self.tenant.as_ref().ok_or_else(|| Status::bad_request("Tenant parameter required."))
    }

    /// The range of paths that a list or a watch looks at.
    pub(crate) fn within(&self) -> Within {
        match (&self.tenant, self.kind.scope) {
            (_, Scope::Region) | (None, _) => Within::Everywhere,
            (Some(tenant), Scope::Namespace) if !self.namespace.is_empty() => {
                Within::Namespace(tenant.clone(), self.namespace.clone().into_owned())
            }
            (Some(tenant), _) => Within::Tenant(tenant.clone()),
        }
    }

    /// The object, at its newest.
    ///
    /// # Errors
    /// 404.
    pub(crate) async fn found(&self) -> Result<Stored, Status> {
        let key = self.key()?;
        let snapshot = self.engine().latest().await.map_err(|error| read_fault(&error))?;
        self.seen(&snapshot, &key).ok_or_else(|| self.not_found(&self.name))
    }

    /// What is at a key, for this call: what is forced on its tenant, what it has, what all have.
    pub(crate) fn seen(&self, snapshot: &Snapshot, key: &ObjectKey) -> Option<Stored> {
        forced::get(self, snapshot, key).or_else(|| snapshot.get(key)).or_else(|| self.state.shared.get(key))
    }

    /// 404 for an object of this kind.
    pub(crate) fn not_found(&self, name: &str) -> Status {
        Status::not_found(&self.kind.group_resource, name)
    }

    /// Has something entered in the audit log, beside the request.
    pub(crate) fn annotate(&self, key: &str, value: &str) {
        if let Some(record) = &self.record {
            record.annotate(key, value);
        }
    }

    /// Warns the client, once in the same words.
    pub(crate) fn warn(&self, warning: impl Into<String>) {
        self.warnings.lock().add(warning.into());
    }
}

/// What a client is told when the engine cannot be read.
pub(crate) fn read_fault(error: &WatchError) -> Status {
    match error {
        WatchError::Compacted { .. } => Status::expired(error.to_string()),
        _ => Status::failure(Reason::ServiceUnavailable, error.to_string()).retry_after(1),
    }
}

/// What a client is told when a commit failed for reasons that have nothing to do with the object.
pub(crate) fn commit_fault(error: &CommitError) -> Status {
    let text = error.to_string();
    match error {
        CommitError::TooLarge { .. } => Status::failure(Reason::RequestEntityTooLarge, text),
        CommitError::Busy => Status::failure(Reason::TooManyRequests, text).retry_after(1),
        // Clients that are told when to try again do so for a minute without a word; nothing of this mends itself.
        CommitError::DiskFull | CommitError::Poisoned(_) | CommitError::Closed => {
            Status::failure(Reason::ServiceUnavailable, text)
        }
        CommitError::Unavailable(_) => Status::failure(Reason::ServiceUnavailable, text).retry_after(1),
        // not to be tried again as it is: it may have happened, and clients that are told when do so without looking
        CommitError::Unknown(_) => Status::failure(Reason::Timeout, text),
        _ => Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_when_to_try_again_only_where_nothing_has_happened_and_it_may_help() {
        let after = |error: CommitError| commit_fault(&error).details.map_or(0, |details| details.retry_after_seconds);
        assert!(after(CommitError::Unavailable("no leader".into())) > 0);
        assert!(after(CommitError::Busy) > 0);
        let broken = || "the connection broke".into();
        let errors = [
            CommitError::Unknown(broken()),
            CommitError::DiskFull,
            CommitError::Poisoned(broken()),
            CommitError::Closed,
        ];
        for error in errors {
            assert_eq!(after(error), 0);
        }
    }
}
