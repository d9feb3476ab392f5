//! What a gateway that runs by itself enters of requests: all of them, also those that no backend hears of.

use arktos_api::Passing;
use arktos_core::Status;
use arktos_store::Random;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};

use super::{GatewayBody, until_read};

/// The header that has the id of a request, which whoever it is passed on to takes over.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// The id of a request; a new one is put into its head where it has none.
pub(super) fn id_of(parts: &mut Parts, random: &dyn Random) -> String {
    let told = parts.headers.get(&AUDIT_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    if let Some(told) = told {
        return told.to_owned();
    }
    let id = random.uid();
    if let Ok(value) = HeaderValue::from_str(&id) {
        parts.headers.insert(AUDIT_ID, value);
    }
    id
}

/// The answer, entered: that of a watch once more when it ends.
pub(super) fn entered(passing: Passing, mut response: Response<GatewayBody>, id: &str) -> Response<GatewayBody> {
    let (code, failure) = (response.status().as_u16(), response.extensions_mut().remove::<Status>());
    if let (false, Ok(value)) = (response.headers().contains_key(&AUDIT_ID), HeaderValue::from_str(id)) {
        response.headers_mut().insert(AUDIT_ID, value);
    }
    if !passing.watches() || failure.is_some() || !response.status().is_success() {
        passing.answered(code, failure.as_ref());
        return response;
    }
    let watch = passing.begun(code); // it has ended when the body is dropped
    response.map(|body| until_read(body, watch))
}
