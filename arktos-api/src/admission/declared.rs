//! What a tenant's policies, their bindings, and its webhooks say, as far as it is looked at with writes.

use std::ops::Deref;

use arktos_core::selector::LabelSelectorSpec;
use arktos_core::{LabelSelector, TypeMeta};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::decoded::Declared;
use crate::authorize::null_is_empty;

/// A policy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Policy {
    spec: PolicySpec,
}

/// What a policy says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PolicySpec {
    /// What it is about; absent for everything.
    pub(super) match_constraints: Option<Matching>,
    pub(super) match_conditions: Vec<Condition>,
    pub(super) failure_policy: String,
    pub(super) param_kind: Option<ParamKind>,
    pub(super) variables: Vec<Variable>,
    pub(super) validations: Vec<Validation>,
    pub(super) audit_annotations: Vec<AuditAnnotation>,
    pub(super) mutations: Vec<Mutation>,
    pub(super) reinvocation_policy: String,
}

impl Deref for Policy {
    type Target = PolicySpec;

    fn deref(&self) -> &PolicySpec {
        &self.spec
    }
}

impl PolicySpec {
    pub(super) fn ignores_faults(&self) -> bool {
        self.failure_policy == "Ignore"
    }

    /// The kind of what it is parametrized by.
    pub(super) fn params(&self) -> Option<TypeMeta> {
        let ParamKind { api_version, kind } = self.param_kind.clone()?;
        Some(TypeMeta { api_version, kind })
    }
}

/// A binding of a policy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Binding {
    spec: BindingSpec,
}

/// What a binding says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BindingSpec {
    pub(super) policy_name: String,
    /// What it is about; absent for all that its policy is.
    pub(super) match_resources: Option<Matching>,
    pub(super) param_ref: Option<ParamRef>,
    pub(super) validation_actions: Vec<String>,
}

impl Deref for Binding {
    type Target = BindingSpec;

    fn deref(&self) -> &BindingSpec {
        &self.spec
    }
}

/// A configuration of webhooks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Configuration {
    pub(super) webhooks: Vec<Webhook>,
}

/// A webhook.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Webhook {
    pub(super) name: String,
    pub(super) client_config: ClientConfig,
    pub(super) rules: Vec<Rule>,
    pub(super) match_policy: String,
    pub(super) namespace_selector: Selector,
    pub(super) object_selector: Selector,
    pub(super) match_conditions: Vec<Condition>,
    pub(super) failure_policy: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub(super) side_effects: String,
    pub(super) timeout_seconds: Option<i64>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(super) admission_review_versions: Vec<String>,
    pub(super) reinvocation_policy: String,
}

/// Where a webhook is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ClientConfig {
    pub(super) url: Option<String>,
    pub(super) service: Value,
    pub(super) ca_bundle: String,
}

/// What a policy or a binding is about. What it leaves open, everything fits.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Matching {
    pub(super) resource_rules: Vec<Rule>,
    pub(super) exclude_resource_rules: Vec<Rule>,
    pub(super) match_policy: String,
    pub(super) namespace_selector: Selector,
    pub(super) object_selector: Selector,
}

/// A rule about resources.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    pub(super) operations: Vec<String>,
    pub(super) api_groups: Vec<String>,
    pub(super) api_versions: Vec<String>,
    pub(super) resources: Vec<String>,
    pub(super) resource_names: Vec<String>,
    pub(super) scope: String,
}

/// A condition upon which a policy or a webhook is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    pub(super) expression: String,
}

/// What a policy is parametrized by.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ParamKind {
    api_version: String,
    kind: String,
}

/// Which objects a binding parametrizes its policy by.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<LabelSelectorSpec>,
    pub(super) parameter_not_found_action: String,
}

/// A variable of a policy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) expression: String,
}

/// What a policy demands.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Validation {
    pub(super) expression: String,
    pub(super) message: String,
    pub(super) message_expression: String,
    pub(super) reason: String,
}

/// What a policy wants entered in the audit log.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AuditAnnotation {
    pub(super) key: String,
    pub(super) value_expression: String,
}

/// What a policy changes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Mutation {
    pub(super) patch_type: String,
    pub(super) json_patch: Change,
    pub(super) apply_configuration: Change,
}

/// The expression that comes to a change.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Change {
    pub(super) expression: String,
}

/// A label selector; nothing where it selects everything.
#[derive(Debug)]
pub(super) struct Selector(Result<Option<LabelSelector>, String>);

impl Default for Selector {
    fn default() -> Self {
        Self(Ok(None))
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spec: Option<LabelSelectorSpec> = Option::deserialize(deserializer)?;
        let spec = spec.filter(|spec| *spec != LabelSelectorSpec::default());
        Ok(Self(spec.map(|spec| spec.selector()).transpose().map_err(|error| error.to_string())))
    }
}

impl Selector {
    /// The selector; absent where it selects everything.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn get(&self) -> Result<Option<&LabelSelector>, String> {
        self.0.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}

impl Declared for Policy {}

impl Declared for Binding {
    fn found_by(&self) -> &str {
        &self.policy_name
    }
}

impl Declared for Configuration {}
