//! Who else may say whose a bearer token is: an OpenID Connect provider, a webhook. The flags are kube-apiserver's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arktos_api::TokenAuthenticator;
use clap::Args;

use super::serving::duration;
use crate::net::kubeconfig::Kubeconfig;
use crate::net::oidc::{Oidc, OidcOptions};
use crate::net::token_review::TokenReviews;

/// How often an OpenID Connect provider's keys are fetched anew at most.
const REFETCH: Duration = Duration::from_secs(10);

/// Bearer tokens that somebody else issues.
#[derive(Debug, Clone, Args)]
pub struct AuthenticationArgs {
    /// Issuer of the OpenID Connect tokens to accept: an https URL. Default: none
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    oidc_issuer_url: Option<String>,
    /// Audience that OpenID Connect tokens must have
    #[arg(long, value_name = "ID", requires = "oidc_issuer_url")]
    oidc_client_id: Option<String>,
    /// File of the authority that signed the issuer's certificate
    #[arg(long, value_name = "FILE")]
    oidc_ca_file: Option<PathBuf>,
    /// Claim that names the user
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    oidc_username_claim: String,
    /// Prefix of user names; `-` for none. Default: the issuer, or none where the claim is `email`
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    oidc_username_prefix: String,
    /// Claim that lists the user's groups
    #[arg(long, value_name = "CLAIM", default_value = "", hide_default_value = true)]
    oidc_groups_claim: String,
    /// Prefix of groups
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    oidc_groups_prefix: String,
    /// Claim that names the user's tenant. Default: none, users belong to `system`
    #[arg(long, value_name = "CLAIM", default_value = "", hide_default_value = true)]
    oidc_tenant_claim: String,
    /// A claim that tokens must have, with this value; may be given more than once
    #[arg(long = "oidc-required-claim", value_name = "CLAIM=VALUE", value_parser = claim)]
    oidc_required_claims: Vec<(String, String)>,
    /// Kubeconfig of a webhook that identifies tokens (TokenReview); `extra["arktos.io/tenant"]` names the tenant
    #[arg(long, value_name = "FILE")]
    authentication_token_webhook_config_file: Option<PathBuf>,
    /// How long the webhook's answers are cached
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    authentication_token_webhook_cache_ttl: Duration,
}

impl AuthenticationArgs {
    /// Who is asked, in order.
    ///
    /// # Errors
    /// A sentence that names the flag and the file.
    pub fn authenticators(&self) -> Result<Vec<Arc<dyn TokenAuthenticator>>, String> {
        let mut all: Vec<Arc<dyn TokenAuthenticator>> = Vec::new();
        if let (Some(issuer), Some(client_id)) = (&self.oidc_issuer_url, &self.oidc_client_id) {
            if !issuer.starts_with("https://") {
                return Err(format!("--oidc-issuer-url {issuer}: it must begin with https://"));
            }
            let file = self
                .oidc_ca_file
                .as_ref()
                .ok_or("--oidc-issuer-url needs --oidc-ca-file: without it no authority is trusted")?;
            all.push(Arc::new(Oidc::new(OidcOptions {
                issuer: issuer.clone(),
                client_id: client_id.clone(),
                username_claim: self.oidc_username_claim.clone(),
                username_prefix: self.oidc_username_prefix.clone(),
                groups_claim: self.oidc_groups_claim.clone(),
                groups_prefix: self.oidc_groups_prefix.clone(),
                tenant_claim: self.oidc_tenant_claim.clone(),
                required: self.oidc_required_claims.clone(),
                authority: read("--oidc-ca-file", file)?,
                refetch: REFETCH,
            })));
        }
        if let Some(file) = &self.authentication_token_webhook_config_file {
            let config = Kubeconfig::read(file)
                .map_err(|error| format!("--authentication-token-webhook-config-file {}: {error}", file.display()))?;
            all.push(Arc::new(TokenReviews::new(config, self.authentication_token_webhook_cache_ttl)));
        }
        Ok(all)
    }
}

fn read(flag: &str, file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{flag} {}: {error}", file.display()))
}

fn claim(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((claim, value)) if !claim.is_empty() => Ok((claim.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not CLAIM=VALUE")),
    }
}
