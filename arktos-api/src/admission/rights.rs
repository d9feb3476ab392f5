//! Answers to expressions that ask `authorizer` whether somebody may do something.

use std::fmt;
use std::sync::Arc;

use arktos_core::TenantName;
use arktos_core::cel;

use crate::authorize::{Attributes, Authorizer, Decision};
use crate::call::Call;
use crate::identity::Identity;

/// The rights of who makes a request, in the tenant that it is about.
pub(super) struct Rights {
    authorizer: Arc<Authorizer>,
    identity: Identity,
    tenant: Option<TenantName>,
}

impl Rights {
    pub(super) fn of(call: &Call<'_>) -> Self {
        let tenant = call.tenant.clone().or_else(|| call.identity.tenant.clone());
        Self { authorizer: call.state.authorizer.clone(), identity: call.identity.clone(), tenant }
    }

    /// A service account of the tenant.
    fn account(&self, namespace: &str, name: &str) -> Identity {
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let (all, own) = ("system:serviceaccounts", format!("system:serviceaccounts:{namespace}"));
        let tenant = self.tenant.clone().unwrap_or_else(TenantName::system);
        Identity::user(&user, &[all, &own], &tenant)
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rights").field(&self.identity.user).finish()
    }
}

impl cel::Authorizer for Rights {
    fn decide(&self, asked: &cel::Question) -> (bool, String) {
        let account = asked.account.as_ref().map(|(namespace, name)| self.account(namespace, name));
        let identity = account.as_ref().unwrap_or(&self.identity);
        let attributes = Attributes {
            verb: &asked.verb,
            tenant: self.tenant.as_ref(),
            group: &asked.group,
            version: "*",
            resource: &asked.resource,
            subresource: &asked.subresource,
            namespace: &asked.namespace,
            name: &asked.name,
            path: &asked.path,
            ..Attributes::default()
        };
        match self.authorizer.decide(identity, &attributes) {
            Decision::Allow(reason) => (true, reason),
            Decision::NoOpinion(why) => (false, why),
            Decision::Deny(why) => (false, why),
        }
    }
}
