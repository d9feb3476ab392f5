//! Which requests are entered, and how much of them.

use arktos_core::name::subdomain_fault;
use serde::Deserialize;

use crate::identity::{ELSEWHERE, Identity};

/// How much of a request is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who, what, when, and the outcome.
    Metadata,
    /// And what was sent.
    Request,
    /// And what was answered.
    RequestResponse,
}

impl Level {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When in the life of a request something is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// It has come.
    RequestReceived,
    /// Its answer has begun, and goes on: a watch.
    ResponseStarted,
    /// It has been answered.
    ResponseComplete,
    /// It could not be.
    Panic,
}

impl Stage {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// An `audit.k8s.io/v1` Policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPolicy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

/// A text that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit policy: {0}")]
pub struct AuditPolicyError(String);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a Policy")]
struct Written {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[allow(dead_code)] // may be there, and says nothing
    metadata: serde_json::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<Resources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    paths: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What a policy is asked about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) verb: &'a str,
    /// The path, of what is no resource; empty otherwise.
    pub(crate) path: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// What a policy says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) level: Level,
    pub(crate) omit_stages: Vec<Stage>,
    pub(crate) omit_managed_fields: bool,
}

impl AuditPolicy {
    /// Reads a policy, YAML or JSON.
    ///
    /// # Errors
    /// [`AuditPolicyError`] says what of it is none.
    pub fn parse(text: &str) -> Result<Self, AuditPolicyError> {
        let wrong = |why: &dyn std::fmt::Display| AuditPolicyError(why.to_string());
        let value = arktos_core::media::yaml::parse(text.as_bytes()).map_err(|error| wrong(&error))?;
        let written: Written = serde_json::from_value(value).map_err(|error| wrong(&error))?;
        if (written.api_version.as_str(), written.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            return Err(wrong(&"it is not an audit.k8s.io/v1 Policy"));
        }
        if written.rules.is_empty() {
            return Err(wrong(&"it has no rules"));
        }
        for (at, rule) in written.rules.iter().enumerate() {
            let regular = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if regular && !rule.paths.is_empty() {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                return Err(wrong(&format!("rules[{at}].nonResourceURLs: {why}")));
            }
            for path in rule.paths.iter().filter(|path| *path != "*") {
                let why = if !path.starts_with('/') {
                    "non-resource URL rules must begin with a '/' character"
                } else if path.strip_suffix('*').unwrap_or(path).contains('*') {
                    "non-resource URL wildcards '*' must be the final character of the rule"
                } else {
                    continue;
                };
                return Err(wrong(&format!("rules[{at}].nonResourceURLs: {path:?}: {why}")));
            }
            for resources in &rule.resources {
                let group = resources.group.as_str();
                if let Some(why) = subdomain_fault(group).filter(|_| !matches!(group, "" | "*")) {
                    return Err(wrong(&format!("rules[{at}].resources.group: {group:?}: {why}")));
                }
                if resources.resources.is_empty() && !resources.resource_names.is_empty() {
                    let why = "using resourceNames requires at least one resource";
                    return Err(wrong(&format!("rules[{at}].resources.resourceNames: {why}")));
                }
            }
        }
        let (omit_stages, omit_managed_fields) = (written.omit_stages, written.omit_managed_fields);
        Ok(Self { rules: written.rules, omit_stages, omit_managed_fields })
    }

    /// One that enters everybody's every request at one level.
    #[must_use]
    pub fn everything(level: Level) -> Self {
        let rule = Rule {
            level,
            users: Vec::new(),
            user_groups: Vec::new(),
            verbs: Vec::new(),
            resources: Vec::new(),
            namespaces: Vec::new(),
            paths: Vec::new(),
            omit_stages: Vec::new(),
            omit_managed_fields: None,
        };
        Self { rules: vec![rule], ..Self::default() }
    }

    /// What the first rule that is about a request says; nothing is entered where there is none.
    pub(crate) fn says(&self, who: &Identity, asked: &Asked<'_>) -> Said {
        match self.rules.iter().find(|rule| rule.is_about(who, asked)) {
            Some(rule) => Said {
                level: rule.level,
                omit_stages: rule.omit_stages.iter().chain(&self.omit_stages).copied().collect(),
                omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
            },
            None => Said { level: Level::None, omit_stages: Vec::new(), omit_managed_fields: false },
        }
    }
}

impl Rule {
    fn is_about(&self, who: &Identity, asked: &Asked<'_>) -> bool {
        let any = |list: &[String], is: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|one| is(one));
        any(&self.users, &|name| self.names(name, who, |name| who.user == name))
            && any(&self.user_groups, &|name| self.names(name, who, |name| who.is_in(name)))
            && any(&self.verbs, &|verb| verb == asked.verb)
            && self.is_there(asked)
    }

    /// Whether a name in a rule means someone. A tenant calls its users and groups as it likes: a rule by which nothing
    /// is entered means `system`'s own of that name, and others only where it names them with their tenant.
    fn names(&self, name: &str, who: &Identity, is: impl Fn(&str) -> bool) -> bool {
        let elsewhere = name.strip_prefix(ELSEWHERE).and_then(|rest| rest.split_once(':'));
        match elsewhere.filter(|_| !who.is_system()) {
            Some((tenant, name)) => who.tenant.as_ref().is_some_and(|own| own.as_str() == tenant) && is(name),
            None => is(name) && (self.level != Level::None || who.is_system()),
        }
    }

    fn is_there(&self, asked: &Asked<'_>) -> bool {
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return asked.path.is_empty()
                && (self.namespaces.is_empty() || self.namespaces.iter().any(|one| one == asked.namespace))
                && (self.resources.is_empty() || self.resources.iter().any(|one| one.has(asked)));
        }
        self.paths.is_empty() || (!asked.path.is_empty() && self.paths.iter().any(|path| is_path(path, asked.path)))
    }
}

/// Whether a path is the one that is written, which may end with a star for everything below.
fn is_path(written: &str, path: &str) -> bool {
    written == "*" || written == path || written.strip_suffix('*').is_some_and(|head| path.starts_with(head))
}

impl Resources {
    fn has(&self, asked: &Asked<'_>) -> bool {
        let is = |written: &str| match written.split_once('/') {
            None => written == "*" || (written == asked.resource && asked.subresource.is_empty()),
            Some(("*", part)) => !asked.subresource.is_empty() && part == asked.subresource,
            Some((resource, "*")) => resource == asked.resource,
            Some((resource, part)) => resource == asked.resource && part == asked.subresource,
        };
        (self.group == "*" || self.group == asked.group)
            && (self.resources.is_empty() || self.resources.iter().any(|written| is(written)))
            && (self.resources.is_empty()
                || self.resource_names.is_empty()
                || self.resource_names.iter().any(|name| name == asked.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::TenantName;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: [watch]
- level: Metadata
  resources: [{group: "", resources: [secrets, "pods/*", "*/scale"]}]
- level: None
  nonResourceURLs: ["/healthz*", /version]
- level: Request
  resources: [{group: apps, resources: [deployments], resourceNames: [web]}]
  namespaces: [prod]
  omitStages: [ResponseStarted]
- level: RequestResponse
  userGroups: [auditors]
  omitManagedFields: true
"#;

    fn level(who: &str, groups: &[&str], asked: &Asked<'_>) -> Level {
        let policy = AuditPolicy::parse(POLICY).expect("a policy");
        policy.says(&Identity::user(who, groups, &TenantName::system()), asked).level
    }

    #[test]
    fn the_first_rule_that_is_about_a_request_counts() {
        let of = |group: &'static str, resource: &'static str, subresource: &'static str| Asked {
            verb: "watch",
            group,
            resource,
            subresource,
            ..Asked::default()
        };
        assert_eq!(level("system:kube-proxy", &[], &of("", "secrets", "")), Level::None);
        for (resource, subresource) in [("secrets", ""), ("pods", "log"), ("pods", ""), ("things", "scale")] {
            assert_eq!(level("a", &[], &of("", resource, subresource)), Level::Metadata, "{resource}/{subresource}");
        }
        assert_eq!(level("a", &[], &of("", "secrets", "x")), Level::None);
        assert_eq!(level("a", &["auditors"], &of("", "secrets", "x")), Level::RequestResponse);
        let web = Asked { namespace: "prod", name: "web", ..of("apps", "deployments", "") };
        assert_eq!(level("a", &[], &web), Level::Request);
        assert_eq!(level("a", &[], &Asked { namespace: "test", ..web.clone() }), Level::None);
        assert_eq!(level("a", &[], &Asked { name: "api", ..web }), Level::None);
        for (path, found) in
            [("/healthz/ping", Level::None), ("/version", Level::None), ("/apis", Level::RequestResponse)]
        {
            let asked = Asked { verb: "get", path, ..Asked::default() };
            assert_eq!(level("a", &["auditors"], &asked), found, "{path}");
        }
    }

    #[test]
    fn no_tenants_user_is_left_out_by_being_called_as_one_of_the_regions() {
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n";
        let rules = "- {level: None, users: ['system:kube-proxy', 'tenant:acme:bot']}\n\
                     - {level: None, userGroups: ['system:nodes', 'tenant:acme:bots']}\n\
                     - {level: Request, userGroups: [auditors]}\n- {level: Metadata}\n";
        let policy = AuditPolicy::parse(&format!("{head}{rules}")).expect("a policy");
        let level = |tenant: &str, user: &str, groups: &[&str]| {
            let tenant = TenantName::new(tenant).expect("a name");
            policy.says(&Identity::user(user, groups, &tenant), &Asked { verb: "get", ..Asked::default() }).level
        };
        assert_eq!(level("system", "system:kube-proxy", &[]), Level::None);
        assert_eq!(level("system", "n", &["system:nodes"]), Level::None);
        assert_eq!(level("acme", "system:kube-proxy", &["system:nodes"]), Level::Metadata);
        assert_eq!(level("acme", "bot", &[]), Level::None);
        assert_eq!(level("acme", "x", &["bots"]), Level::None);
        for tenant in ["umbra", "system"] {
            assert_eq!(level(tenant, "bot", &["bots"]), Level::Metadata, "{tenant}");
        }
        assert_eq!(level("acme", "x", &["auditors"]), Level::Request, "more than elsewhere is entered of anybody");
        assert_eq!(level("acme", "tenant:acme:bot", &[]), Level::Metadata);
    }

    #[test]
    fn stages_and_managed_fields_are_left_out_as_the_rule_and_the_policy_say() {
        let policy = AuditPolicy::parse(POLICY).expect("a policy");
        let web = Asked {
            verb: "get",
            group: "apps",
            resource: "deployments",
            namespace: "prod",
            name: "web",
            ..Asked::default()
        };
        let said = policy.says(&Identity::anonymous(), &web);
        assert_eq!(said.omit_stages, [Stage::ResponseStarted, Stage::RequestReceived]);
        let auditor = Identity::user("a", &["auditors"], &TenantName::system());
        assert!(policy.says(&auditor, &Asked { path: "/x", ..Asked::default() }).omit_managed_fields);
    }

    #[test]
    fn a_star_is_any_group() {
        let rules = "rules: [{level: Request, resources: [{group: '*', resources: [pods]}]}]";
        let policy =
            AuditPolicy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}")).expect("a policy");
        let level =
            |group, resource| policy.says(&Identity::anonymous(), &Asked { group, resource, ..Asked::default() }).level;
        assert_eq!((level("", "pods"), level("metrics.k8s.io", "pods")), (Level::Request, Level::Request));
        assert_eq!(level("", "nodes"), Level::None);
    }

    #[test]
    fn what_is_no_policy_is_told() {
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        for (bad, why) in [
            ("{".to_owned(), ""),
            (String::new(), "invalid type: null, expected a Policy"),
            ("apiVersion: v1\nkind: Policy\nrules: [{level: None}]".to_owned(), "not an audit.k8s.io/v1 Policy"),
            (head.to_owned(), "no rules"),
            (format!("{head}rules: [{{level: Some}}]"), "unknown variant"),
            (format!("{head}rules: [{{level: None, verb: [get]}}]"), "unknown field"),
            (format!("{head}rules: [{{level: None, namespaces: [a], nonResourceURLs: [/x]}}]"), "cannot apply to both"),
            (format!("{head}rules: [{{level: None, nonResourceURLs: [x]}}]"), "must begin with a '/'"),
            (format!("{head}rules: [{{level: None, nonResourceURLs: [/a*b]}}]"), "must be the final character"),
            (
                format!("{head}rules: [{{level: None, resources: [{{group: apps/v1}}]}}]"),
                "resources.group: \"apps/v1\"",
            ),
            (format!("{head}rules: [{{level: None, resources: [{{resourceNames: [a]}}]}}]"), "at least one resource"),
        ] {
            let error = AuditPolicy::parse(&bad).expect_err(&bad).to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
