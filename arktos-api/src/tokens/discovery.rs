//! How others check the tokens of a tenant's service accounts: OpenID discovery and the public keys.

use arktos_core::{Status, TenantName};
use http::{HeaderValue, Method, Response};
use serde_json::json;

use crate::body::Body;
use crate::query::method_not_allowed;
use crate::request::TenantPart;
use crate::server::{Head, State};

/// How long answers may be kept.
const KEEP: &str = "public, max-age=3600";

/// Answers one of the two documents; absent for other paths.
pub(crate) fn answer(state: &State, head: &Head) -> Option<Result<Response<Body>, Status>> {
    let path = head.info.path.as_str();
    let keys = match path {
        "/openid/v1/jwks" => true,
        "/.well-known/openid-configuration" => false,
        _ => return None,
    };
    if head.method != Method::GET {
        return Some(Err(method_not_allowed()));
    }
    let kind = if keys { "application/jwk-set+json" } else { "application/json" };
    if let Err(refusal) = crate::negotiate::produces(&head.headers, &[kind]) {
        return Some(Err(refusal));
    }
    let tenant = match &head.info.tenant {
        TenantPart::Named(tenant) => tenant.clone(),
        TenantPart::Own | TenantPart::All => head.identity.tenant.clone().unwrap_or_else(TenantName::system),
    };
    let document = if keys {
        let life = super::life(&state.config.engine, tenant);
        life.map_or_else(|| json!({"keys": []}), |life| state.config.token_keys.public(&life))
    } else {
        let place = if tenant.is_system() { String::new() } else { format!("/tenants/{tenant}") };
        json!({
            "issuer": state.config.issuer,
            "jwks_uri": format!("https://{}{place}/openid/v1/jwks", state.config.advertise),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    };
    let mut response = Response::new(Body::full(document.to_string()));
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static(KEEP));
    Some(Ok(response))
}
