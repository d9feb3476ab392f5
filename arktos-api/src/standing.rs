//! Whether the caller of an open watch may still have it.
//!
//! A watch lasts longer than the right to it may: roles change, tokens end, tenants go. So it is asked again, every so
//! often, what was asked when the watch was opened.

use std::sync::Arc;

use arktos_core::{Status, TenantName};
use http::HeaderMap;

use crate::authenticate::{self, unauthorized};
use crate::authorize::{Attributes, Authorizer};
use crate::config::ApiConfig;
use crate::identity::Identity;
use crate::impersonate;
use crate::request::ResourceInfo;
use crate::tokens::{self, Life};

/// Who sent a request, in whose name, so that it can be asked again.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// As authenticated, before impersonation.
    identity: Identity,
    /// The token, when it is a service account's: it may end at any time.
    token: Option<String>,
    /// The headers that say in whose name.
    acts_as: HeaderMap,
}

impl Credentials {
    /// What of a request says who sent it.
    pub(crate) fn of(config: &ApiConfig, identity: &Identity, headers: &HeaderMap) -> Self {
        let of_account =
            |token: &&str| identity.extra.contains_key(tokens::CREDENTIAL) && config.tokens.find(token).is_none();
        let token = authenticate::bearer(headers).filter(of_account).map(str::to_owned);
        let acts_as = headers.iter().filter(|(name, _)| name.as_str().starts_with("impersonate-"));
        let acts_as = acts_as.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { identity: identity.clone(), token, acts_as }
    }

    /// Whether nothing can end them: those of the region's own components, in their own name.
    pub(crate) fn last(&self) -> bool {
        self.identity.is_component() && self.token.is_none() && self.acts_as.is_empty()
    }

    /// Who acts.
    ///
    /// # Errors
    /// 401 when the credential has ended, 403 when who has it may not act in the other's name.
    fn who(&self, config: &ApiConfig, authorizer: &Authorizer, asked: &Attributes<'_>) -> Result<Identity, Status> {
        let identity = match &self.token {
            Some(token) => tokens::check::check(config, token, &[]).map_err(|_| unauthorized())?.identity,
            None => self.identity.clone(),
        };
        if !authenticate::counts(config, &identity) {
            return Err(unauthorized());
        }
        let asked = Attributes { tenant: self.identity.tenant.as_ref(), ..*asked };
        Ok(impersonate::acting(authorizer, identity, &self.acts_as, Some(&asked))?.identity)
    }
}

/// The question that was answered with yes when a watch was opened.
pub(crate) struct Standing {
    config: Arc<ApiConfig>,
    authorizer: Arc<Authorizer>,
    credentials: Credentials,
    /// The tenant of whoever it acts as, as it was then.
    home: Option<Life>,
    tenant: Option<TenantName>,
    verb: &'static str,
    resource: ResourceInfo,
}

impl Standing {
    /// The question, to be asked again.
    pub(crate) fn new(
        (config, authorizer): (Arc<ApiConfig>, Arc<Authorizer>),
        (credentials, acts_as): (Credentials, &Identity),
        tenant: Option<TenantName>,
        verb: &'static str,
        resource: ResourceInfo,
    ) -> Self {
        let home = home(&config, acts_as);
        Self { config, authorizer, credentials, home, tenant, verb, resource }
    }

    /// Asks again.
    ///
    /// # Errors
    /// 401 when the credential has ended or its tenant is gone, 403 when who has it may no longer watch.
    pub(crate) fn check(&self) -> Result<(), Status> {
        let ResourceInfo { group, version, namespace, resource, name, subresource, node, .. } = &self.resource;
        let (verb, tenant, path) = (self.verb, self.tenant.as_ref(), "");
        let asked = Attributes { verb, tenant, group, version, resource, subresource, namespace, name, node, path };
        let who = self.credentials.who(&self.config, &self.authorizer, &asked)?;
        if home(&self.config, &who) != self.home {
            return Err(unauthorized());
        }
        self.authorizer.check(&who, &asked)
    }
}

fn home(config: &ApiConfig, identity: &Identity) -> Option<Life> {
    tokens::life(&config.engine, identity.tenant.clone()?)
}
