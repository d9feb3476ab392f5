//! Metrics of a standalone gateway.

use arktos_api::Identity;
use arktos_core::{Reason, Status};
use http::{Method, Response};
use http_body_util::{BodyExt, Full};

use super::GatewayBody;
use crate::metrics::Metrics;

/// What a method is counted as.
pub(super) fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// 403 for all but the region's administrators, its own components, and those who monitor it: a gateway that runs by
/// itself has no rules to look into.
pub(super) fn may_read_metrics(identity: &Identity) -> Result<(), Status> {
    let groups = ["system:masters", "system:monitoring"];
    if identity.is_component() || (identity.is_system() && groups.into_iter().any(|group| identity.is_in(group))) {
        return Ok(());
    }
    let text = format!("forbidden: User {:?} cannot get path \"/metrics\"", identity.user);
    Err(Status::failure(Reason::Forbidden, text))
}

/// What was counted, as an answer.
pub(super) fn metrics_of(metrics: &Metrics) -> Response<GatewayBody> {
    let mut response = Response::new(Full::from(metrics.text()).map_err(|never| match never {}).boxed_unsync());
    let format = http::HeaderValue::from_static(crate::metrics::CONTENT_TYPE);
    response.headers_mut().insert(http::header::CONTENT_TYPE, format);
    response
}
