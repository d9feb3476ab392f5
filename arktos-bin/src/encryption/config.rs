//! Upstream's EncryptionConfiguration: which resources are encrypted, with which keys.

use std::fmt;
use std::sync::Arc;

use arktos_core::GroupResource;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::seal::{Provider, Secret};

/// Which resources are encrypted, and how.
pub struct Config {
    rules: Vec<Rule>,
}

/// What is so for some resources. The first rule that is about a resource counts.
struct Rule {
    resources: Vec<String>,
    /// All keys, in order.
    keys: Vec<Key>,
    /// The first one encrypts; else what is written stays plain.
    encrypts: bool,
    takes_plain: bool,
}

/// A key, and what it is called, such as `aesgcm:NAME`.
pub(super) struct Key {
    pub(super) name: Arc<str>,
    pub(super) secret: Secret,
}

impl Key {
    /// The name that the configuration gives it, without its provider.
    pub(super) fn own_name(&self) -> &str {
        self.name.split_once(':').map_or(&*self.name, |(_, name)| name)
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an EncryptionConfiguration")]
struct File {
    api_version: String,
    kind: String,
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an entry with resources and providers")]
struct Entry {
    resources: Vec<String>,
    providers: Vec<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "keys")]
struct KeyList {
    keys: Vec<KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a key with name and secret")]
struct KeyEntry {
    name: String,
    secret: String,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`], which names the place and never a secret.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let wrong = |what: &dyn fmt::Display| ConfigError(what.to_string());
        let value = arktos_core::media::yaml::parse(text).map_err(|error| wrong(&error))?;
        let file: File = serde_json::from_value(value).map_err(|error| wrong(&error))?;
        let known = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
        if file.kind != "EncryptionConfiguration" || !known.contains(&file.api_version.as_str()) {
            let (version, kind) = (&file.api_version, &file.kind);
            return Err(wrong(&format!("{version} {kind} is no apiserver.config.k8s.io/v1 EncryptionConfiguration")));
        }
        if file.resources.is_empty() {
            return Err(wrong(&"resources: needs at least one entry"));
        }
        let rules = file
            .resources
            .into_iter()
            .enumerate()
            .map(|(at, entry)| Rule::read(entry).map_err(|why| ConfigError(format!("resources[{at}]{why}"))));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    fn rule(&self, resource: &GroupResource) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.resources.iter().any(|pattern| is_about(pattern, resource)))
    }

    /// The key that encrypts objects of a resource.
    pub(super) fn writing(&self, resource: &GroupResource) -> Option<&Key> {
        self.rule(resource).filter(|rule| rule.encrypts).and_then(|rule| rule.keys.first())
    }

    /// The key of a name, for objects of a resource.
    pub(super) fn reading(&self, resource: &GroupResource, name: &str) -> Option<&Key> {
        self.rule(resource)?.keys.iter().find(|key| &*key.name == name)
    }

    /// The name of the key that encrypts objects of a resource.
    pub(super) fn key_for(&self, resource: &GroupResource) -> Option<Arc<str>> {
        self.writing(resource).map(|key| key.name.clone())
    }

    pub(super) fn takes_plain(&self, resource: &GroupResource) -> bool {
        self.rule(resource).is_none_or(|rule| rule.takes_plain)
    }
}

impl Rule {
    fn read(entry: Entry) -> Result<Self, String> {
        if entry.resources.is_empty() {
            return Err(".resources: needs at least one resource".to_owned());
        }
        if let Some(name) = entry.resources.iter().find(|name| !is_pattern(name)) {
            return Err(format!(
                ".resources: {name:?} is not a resource such as secrets, deployments.apps, *.apps or *.*"
            ));
        }
        let mut rule = Self { resources: entry.resources, keys: Vec::new(), encrypts: false, takes_plain: false };
        if entry.providers.is_empty() {
            return Err(".providers: needs at least one provider".to_owned());
        }
        for (at, provider) in entry.providers.into_iter().enumerate() {
            let place = |why: String| format!(".providers[{at}]: {why}");
            let mut fields = provider.into_iter();
            let (Some((name, value)), None) = (fields.next(), fields.next()) else {
                return Err(place("needs exactly one provider".to_owned()));
            };
            match name.as_str() {
                "identity" => rule.takes_plain = true,
                "kms" => {
                    let why = "kms: keys of a plugin are not known here: use aesgcm, secretbox or aescbc";
                    return Err(place(why.to_owned()));
                }
                other => match Provider::named(other) {
                    Some(provider) => {
                        rule.encrypts |= at == 0;
                        rule.add(&name, provider, value).map_err(place)?;
                    }
                    None => {
                        let known = "aesgcm, secretbox, aescbc or identity";
                        return Err(place(format!("there is no provider {other:?}: {known}")));
                    }
                },
            }
        }
        Ok(rule)
    }

    fn add(&mut self, name: &str, provider: Provider, value: Value) -> Result<(), String> {
        let list: KeyList = serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))?;
        if list.keys.is_empty() {
            return Err(format!("{name}.keys: needs at least one key"));
        }
        let (lengths, said) = provider.lengths();
        for entry in list.keys {
            let key: Arc<str> = format!("{name}:{}", entry.name).into();
            let wrong = |why: &str| Err(format!("{name}.keys: the key {:?} {why}", entry.name));
            if entry.name.is_empty() || entry.name.contains(':') {
                return wrong("needs a name without a colon");
            }
            if self.keys.iter().any(|known| known.name == key) {
                return wrong("is there twice");
            }
            let secret = STANDARD.decode(entry.secret.trim()).unwrap_or_default();
            if !lengths.contains(&secret.len()) {
                return wrong(&format!("needs a secret of {said}, in base64"));
            }
            self.keys.push(Key { name: key, secret: Secret::new(provider, secret) });
        }
        Ok(())
    }
}

/// Whether something names resources: `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group) or `*.*`.
fn is_pattern(text: &str) -> bool {
    let plain =
        |text: &str| !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || "-.".contains(char));
    match text.strip_prefix("*.") {
        Some(group) => group.is_empty() || group == "*" || plain(group),
        None => plain(text),
    }
}

fn is_about(pattern: &str, resource: &GroupResource) -> bool {
    let group = resource.as_str().split_once('.').map_or("", |(_, group)| group);
    match pattern.strip_prefix("*.") {
        Some("*") => true,
        Some(wanted) => wanted == group,
        None => pattern == resource.as_str(),
    }
}

impl fmt::Debug for Config {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules.iter().map(|rule| {
            (&rule.resources, rule.keys.iter().map(|key| &*key.name).collect::<Vec<_>>(), rule.takes_plain)
        });
        f.debug_list().entries(rules).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(resources: &str) -> Result<Config, ConfigError> {
        let text =
            format!("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: {resources}\n");
        Config::parse(text.as_bytes())
    }

    #[test]
    fn the_first_rule_about_a_resource_counts_and_the_first_provider_writes() {
        let key =
            |name: &str| format!("{{aesgcm: {{keys: [{{name: {name}, secret: {}}}]}}}}", STANDARD.encode([7; 16]));
        let config = parse(&format!(
            "[{{resources: [secrets], providers: [{}, {{identity: {{}}}}]}}, {{resources: [pods, '*.apps'], providers: \
             [{{identity: {{}}}}, {}]}}, {{resources: ['*.'], providers: [{}]}}]",
            key("a"),
            key("b"),
            key("c")
        ));
        let config = config.expect("reads");
        let of = |group: &str, resource: &str| {
            let resource = GroupResource::new(group, resource);
            (config.key_for(&resource).as_deref().map(str::to_owned), config.takes_plain(&resource))
        };
        assert_eq!(of("", "secrets"), (Some("aesgcm:a".to_owned()), true));
        assert_eq!(of("", "pods"), (None, true));
        assert_eq!(of("apps", "deployments"), (None, true));
        assert!(config.reading(&GroupResource::new("apps", "deployments"), "aesgcm:b").is_some());
        assert_eq!(of("", "configmaps"), (Some("aesgcm:c".to_owned()), false));
        assert_eq!(of("batch", "jobs"), (None, true));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_shown() {
        let secret = STANDARD.encode([9; 5]);
        let with = |providers: &str| format!("[{{resources: [secrets], providers: {providers}}}]");
        for (resources, word) in [
            ("[]".to_owned(), "at least one entry"),
            ("[{resources: [], providers: []}]".to_owned(), "resources[0].resources"),
            ("[{resources: ['*'], providers: [{identity: {}}]}]".to_owned(), "is not a resource"),
            (with("[]"), "resources[0].providers"),
            (with("[{kms: {name: x}}]"), "kms: keys of a plugin are not known here"),
            (with("[{rot13: {}}]"), "there is no provider"),
            (with("[{identity: {}, aesgcm: {keys: []}}]"), "exactly one provider"),
            (with("[{aesgcm: {keys: []}}]"), "at least one key"),
            (with(&format!("[{{aesgcm: {{keys: [{{name: a, secret: {secret}}}]}}}}]")), "16, 24 or 32 bytes"),
            (with("[{aesgcm: {keys: [{name: 'a:b', secret: x}]}}]"), "without a colon"),
            (
                with(&format!("[{{secretbox: {{keys: [{{name: a, secret: {}}}]}}}}]", STANDARD.encode([1; 16]))),
                "secretbox.keys: the key \"a\" needs a secret of 32 bytes",
            ),
        ] {
            let said = parse(&resources).expect_err("is wrong").to_string();
            assert!(said.contains(word) && !said.contains(&secret) && !said.contains('\n'), "{resources}: {said}");
        }
        assert!(Config::parse(b"kind: Pod\napiVersion: v1\nresources: []").is_err());
    }
}
