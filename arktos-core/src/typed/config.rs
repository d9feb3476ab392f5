//! Kinds that hold data and nothing else: config maps, secrets, service accounts.

use std::collections::BTreeMap;

use super::condition::ObjectReference;
use super::kind;
use super::record::record;
use crate::meta::ObjectMeta;

record! {
    /// Configuration.
    pub struct ConfigMap {
        /// Text by key.
        data: BTreeMap<String, String>,
        /// Bytes by key, in base64.
        binary_data: BTreeMap<String, String>,
        /// Whether it may no longer change.
        immutable: Option<bool>,
    } always {
        /// What every object carries.
        metadata: ObjectMeta,
    }
}
kind!(ConfigMap, "configmaps", "v1", "ConfigMap");

record! {
    /// Configuration that is nobody else's business.
    pub struct Secret {
        /// Bytes by key, in base64.
        data: BTreeMap<String, String>,
        /// Text by key; the server moves it into `data`.
        string_data: BTreeMap<String, String>,
        /// What it is for.
        #[serde(rename = "type")]
        kind: String,
        /// Whether it may no longer change.
        immutable: Option<bool>,
    } always {
        /// What every object carries.
        metadata: ObjectMeta,
    }
}
kind!(Secret, "secrets", "v1", "Secret");

record! {
    /// Whom the processes of a pod act as.
    pub struct ServiceAccount {
        /// Secrets that pods of this account may use.
        secrets: Vec<ObjectReference>,
        /// Secrets that images are pulled with.
        image_pull_secrets: Vec<ObjectReference>,
        /// Whether pods get its token mounted.
        automount_service_account_token: Option<bool>,
    } always {
        /// What every object carries.
        metadata: ObjectMeta,
    }
}
kind!(ServiceAccount, "serviceaccounts", "v1", "ServiceAccount");
