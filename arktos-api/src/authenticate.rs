//! From credentials to an identity.

use std::net::IpAddr;
use std::sync::Arc;

use arktos_core::{Reason, Status, TenantName};
use http::{HeaderMap, HeaderValue};

use crate::config::ApiConfig;
use crate::identity::{GATEWAY, Identity, PeerAddress, PeerCertificate, SOURCE, TokenTable, tenant_and_uid};

/// Who sends a request: by bearer token, by client certificate, forwarded by the gateway, or anonymous.
///
/// # Errors
/// 401 for credentials that are wrong, and for none where anonymous requests are not allowed.
pub(crate) async fn authenticate(
    config: &ApiConfig,
    headers: &HeaderMap,
    certificate: Option<&PeerCertificate>,
) -> Result<Identity, Status> {
    let of_account = |token: &str| {
        let checked = crate::tokens::check::check(config, token, &[]);
        checked.map(|checked| checked.identity).map_err(|why| {
            let _ = why; // which of several reasons it is, is not the client's to know
            match crate::tokens::check::claimed_tenant(token) {
                Some(tenant) => not_here(&tenant, "this token"),
                None => unauthorized(),
            }
        })
    };
    let own = identify(&config.tokens, config.anonymous_auth, headers, certificate, &of_account);
    let identity = match (own, bearer(headers)) {
        (Err(refused), Some(token)) => elsewhere(config, token).await.ok_or(refused),
        (own, _) => own,
    }?;
    match &identity.tenant {
        Some(tenant) if !counts(config, &identity) => Err(not_here(tenant, "this certificate")),
        _ => Ok(identity),
    }
}

/// 401 for what may count elsewhere in the region. Whether there is such a tenant here is not told.
fn not_here(tenant: &TenantName, what: &str) -> Status {
    let text = format!(
        "Unauthorized: {what} does not count in this partition for the tenant \"{tenant}\". Come through a gateway of the \
         region, which asks the partition of that tenant whose it is; here counts a certificate, or a line of the token \
         file, that names the tenant without its uid"
    );
    Status::failure(Reason::Unauthorized, text)
}

/// Whether a credential that was given out for one tenant, and not for whoever has the name, is that tenant's still.
pub(crate) fn counts(config: &ApiConfig, identity: &Identity) -> bool {
    let now = || crate::tokens::life(&config.engine, identity.tenant.clone()?);
    identity.tenant_uid.is_empty() || now().is_some_and(|life| life.uid == identity.tenant_uid)
}

/// Whose a token is, as others say; absent when nobody does.
pub(crate) async fn elsewhere(config: &ApiConfig, token: &str) -> Option<Identity> {
    for authenticator in &config.authenticators {
        match authenticator.authenticate(token).await {
            Ok(Some(identity)) => return Some(identity),
            Ok(None) => {}
            Err(why) => tracing::warn!(?authenticator, why, "a bearer token was not accepted"),
        }
    }
    None
}

/// Says who sends a request, as an API server with these tokens does: for a gateway, which needs to know before it can
/// send the request on.
#[allow(clippy::type_complexity)] // it is one function, said once
pub fn authenticator(
    tokens: TokenTable,
    anonymous_auth: bool,
) -> Arc<dyn Fn(&http::request::Parts) -> Result<Identity, Status> + Send + Sync> {
    let of_account = |token: &str| {
        let tenant = crate::tokens::check::claimed_tenant(token).ok_or_else(unauthorized)?;
        Ok(Identity { tenant: Some(tenant), ..Identity::default() })
    };
    Arc::new(move |parts| identify(&tokens, anonymous_auth, &parts.headers, parts.extensions.get(), &of_account))
}

fn identify(
    tokens: &TokenTable,
    anonymous_auth: bool,
    headers: &HeaderMap,
    certificate: Option<&PeerCertificate>,
    of_account: &dyn Fn(&str) -> Result<Identity, Status>,
) -> Result<Identity, Status> {
    if let Some(token) = bearer(headers) {
        return tokens.find(token).cloned().map_or_else(|| of_account(token), Ok);
    }
    if let Some(certificate) = certificate {
        let peer = certificate.identity(from_certificate)?;
        return if is_gateway(&peer) { forwarded(headers, anonymous_auth) } else { Ok(peer) };
    }
    if anonymous_auth { Ok(Identity::anonymous()) } else { Err(unauthorized()) }
}

impl PeerCertificate {
    /// The tenant that it is for, `system` for the region's own; none where it cannot be read.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantName> {
        self.identity(from_certificate).ok()?.tenant
    }

    /// Whether it is that of a component of the region, or of an administrator.
    #[must_use]
    pub fn is_component(&self) -> bool {
        self.identity(from_certificate).is_ok_and(|identity| identity.is_component())
    }
}

fn is_gateway(peer: &Identity) -> bool {
    peer.user == GATEWAY && peer.is_component()
}

/// The address that a request comes from: what the gateway says where it comes through that.
pub fn source(parts: &http::request::Parts) -> Option<IpAddr> {
    let peer = || parts.extensions.get::<PeerAddress>().map(|peer| peer.0.ip().to_canonical());
    let certificate = parts.extensions.get::<PeerCertificate>();
    let through = certificate.and_then(|it| it.identity(from_certificate).ok()).is_some_and(|it| is_gateway(&it));
    let told = parts.headers.get(SOURCE).filter(|_| through);
    told.and_then(|told| told.to_str().ok()?.parse().ok()).or_else(peer)
}

/// 401.
pub(crate) fn unauthorized() -> Status {
    Status::failure(Reason::Unauthorized, "Unauthorized")
}

/// The bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// `O=tenant:<t>` or `O=tenant:<t>:<uid>`, `CN=user`, `OU=groups` (Arktos), or `CN=user`, `O=groups` (upstream: tenant
/// `system`).
fn from_certificate(der: &[u8]) -> Result<Identity, Status> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|_| unauthorized())?;
    let subject = certificate.subject();
    let texts = |values: Vec<&x509_parser::x509::AttributeTypeAndValue<'_>>| -> Vec<String> {
        values.iter().filter_map(|value| value.as_str().ok().map(str::to_owned)).collect()
    };
    let user = texts(subject.iter_common_name().collect()).into_iter().next().ok_or_else(unauthorized)?;
    let organizations = texts(subject.iter_organization().collect());
    let tenants: Vec<&str> = organizations.iter().filter_map(|name| name.strip_prefix("tenant:")).collect();
    let ((tenant, tenant_uid), groups) = match tenants.as_slice() {
        [] => ((TenantName::system(), String::new()), organizations.clone()),
        [tenant] => {
            let tenant = tenant_and_uid(tenant).map_err(|_| unauthorized())?;
            (tenant, texts(subject.iter_organizational_unit().collect()))
        }
        _ => {
            let text = "more than one organization with tenants specified";
            return Err(Status::failure(Reason::Unauthorized, text));
        }
    };
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    Ok(Identity { tenant_uid, ..Identity::user(&user, &groups, &tenant) })
}

/// What a header says of somebody. Names are not always ASCII, and a name that is there must not be taken for none.
pub(crate) fn said(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The identity that the gateway has authenticated and passes on.
fn forwarded(headers: &HeaderMap, anonymous_auth: bool) -> Result<Identity, Status> {
    let text = |name: &str| headers.get(name).map(said);
    let Some(user) = text("x-remote-user") else {
        return if anonymous_auth { Ok(Identity::anonymous()) } else { Err(unauthorized()) };
    };
    let (tenant, tenant_uid) = match text("x-remote-extra-arktos-tenant") {
        Some(tenant) => {
            let (tenant, uid) = tenant_and_uid(&tenant).map_err(|_| unauthorized())?;
            (Some(tenant), uid)
        }
        None => (None, String::new()),
    };
    let groups = headers.get_all("x-remote-group").iter().map(said).collect();
    let uid = text("x-remote-uid").unwrap_or_default();
    Ok(Identity { user, uid, groups, tenant, tenant_uid, ..Identity::default() })
}
