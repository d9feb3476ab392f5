//! Kubeconfig files: how clients find the region and say who they are.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::tls::{Credential, Shown, TlsError};

/// What a kubeconfig says, as far as clients here use it. A client proves who it is by a certificate, by a token, or
/// not at all.
#[derive(Clone)]
pub struct Kubeconfig {
    /// The server's URL, with the tenant's prefix where there is one.
    pub server: String,
    /// The authority that signed the server's certificate, as PEM; the machine's own authorities are not asked. Empty
    /// for a server without TLS.
    pub authority: String,
    /// The client's certificate and key.
    pub credential: Option<Credential>,
    /// The client's bearer token.
    pub token: Option<String>,
}

/// Why a kubeconfig could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubeconfigError {
    /// The file could not be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file is not a kubeconfig.
    #[error("not a kubeconfig: {0}")]
    Format(String),
}

impl Kubeconfig {
    /// What shows its certificate, where it has one.
    ///
    /// # Errors
    /// [`TlsError`] when the certificate or the key is unusable.
    pub fn shown(&self) -> Result<Option<Arc<Shown>>, TlsError> {
        self.credential.as_ref().map(Shown::new).transpose()
    }

    /// The file's text, for one context called `name`.
    #[must_use]
    pub fn render(&self, name: &str) -> String {
        let data = |pem: &str| STANDARD.encode(pem);
        let mut user = String::new();
        if let Some(Credential { certificate, key }) = &self.credential {
            let (certificate, key) = (data(certificate), data(key));
            user += &format!("    client-certificate-data: {certificate}\n    client-key-data: {key}\n");
        }
        if let Some(token) = &self.token {
            user += &format!("    token: {}\n", serde_json::Value::from(token.as_str())); // JSON is YAML
        }
        if user.is_empty() {
            user += "    {}\n";
        }
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {authority}\nusers:\n- name: {name}\n  user:\n{user}contexts:\n- name: \
             {name}\n  context:\n    cluster: {name}\n    \
             user: {name}\ncurrent-context: {name}\n",
            server = self.server,
            authority = data(&self.authority),
        )
    }

    /// Reads a kubeconfig as [`render`](Self::render) writes it, or as any tool does with certificates inline.
    ///
    /// # Errors
    /// [`KubeconfigError`] when the file cannot be read or lacks one of the parts.
    pub fn read(path: &std::path::Path) -> Result<Self, KubeconfigError> {
        Self::parse(&std::fs::read_to_string(path)?)
    }

    fn parse(text: &str) -> Result<Self, KubeconfigError> {
        let format = |what: &str| KubeconfigError::Format(what.to_owned());
        let file: File = serde_json::from_value(
            arktos_core::media::yaml::parse(text.as_bytes())
                .map_err(|error| KubeconfigError::Format(error.to_string()))?,
        )
        .map_err(|error| KubeconfigError::Format(error.to_string()))?;
        let context = file.contexts.iter().find(|context| context.name == file.current_context);
        let context = &context.ok_or_else(|| format("its current-context is not among its contexts"))?.context;
        let cluster = file.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster = &cluster.ok_or_else(|| format("the cluster of its current context is not in it"))?.cluster;
        let user = file.users.iter().find(|user| user.name == context.user);
        let user = &user.ok_or_else(|| format("the user of its current context is not in it"))?.user;
        let pem = |data: &str, what: &str| {
            let bytes = STANDARD.decode(data).map_err(|_| format(&format!("{what} is not base64")))?;
            String::from_utf8(bytes).map_err(|_| format(&format!("{what} is not PEM")))
        };
        Ok(Self {
            server: cluster.server.clone(),
            authority: pem(&cluster.certificate_authority_data, "certificate-authority-data")?,
            credential: match (user.client_certificate_data.as_str(), user.client_key_data.as_str()) {
                ("", "") => None,
                (certificate, key) => Some(Credential {
                    certificate: pem(certificate, "client-certificate-data")?,
                    key: pem(key, "client-key-data")?,
                }),
            },
            token: (!user.token.is_empty()).then(|| user.token.clone()),
        })
    }
}

#[derive(Deserialize)]
#[serde(expecting = "clusters, users and contexts")]
struct File {
    #[serde(rename = "current-context")]
    current_context: String,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    #[serde(default)]
    certificate_authority_data: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    #[serde(default)]
    client_certificate_data: String,
    #[serde(default)]
    client_key_data: String,
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_reads_back_as_it_was_written() {
        let credential = Credential { certificate: "certificate".to_owned(), key: "key".to_owned() };
        for (credential, token) in [(Some(credential), None), (None, Some("t: \"0".to_owned())), (None, None)] {
            let config = Kubeconfig {
                server: "https://127.0.0.1:6443/tenants/acme".to_owned(),
                authority: "authority".to_owned(),
                credential,
                token,
            };
            let back = Kubeconfig::parse(&config.render("acme")).expect("reads back");
            let parts = |it: &Kubeconfig| it.credential.as_ref().map(|it| (it.certificate.clone(), it.key.clone()));
            assert_eq!(parts(&back), parts(&config));
            assert_eq!((back.server, back.authority, back.token), (config.server, config.authority, config.token));
        }
    }

    #[test]
    fn what_is_no_kubeconfig_is_told() {
        let told = Kubeconfig::parse("garbage").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.ends_with("expected clusters, users and contexts"), "{told}");
    }
}
