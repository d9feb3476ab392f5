//! Tokens of service accounts.

use arktos_core::{Object, Reason, Status};

use crate::call::Call;

/// Answers a TokenRequest.
///
/// # Errors
/// 501: tokens are not signed yet.
pub(crate) async fn request(call: &Call<'_>, _body: Object) -> Result<Object, Status> {
    call.found().await?;
    Err(Status::failure(Reason::NotImplemented, "this server does not issue service account tokens yet"))
}
