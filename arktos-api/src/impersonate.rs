//! In whose name a request acts: upstream's constrained impersonation, and the older form of it.
//!
//! There are several ways to be allowed to: each is tried, the narrowest first. All but the last look also at what
//! is to be done in the other's name (`impersonate-on:user-info:list`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use arktos_core::name::{label_fault, subdomain_fault};
use arktos_core::{Reason, Status, TenantName};
use http::HeaderMap;
use parking_lot::Mutex;

use crate::authenticate::said;
use crate::authorize::{Attributes, Authorizer, denied};
use crate::identity::{COMPONENTS, ELSEWHERE, Identity, MASTERS};
use crate::kept::Kept;

const AUTHENTICATION: &str = "authentication.k8s.io";
/// What a service account's token says of the node that it is bound to.
const NODE: &str = "authentication.kubernetes.io/node-name";
/// So many groups, or values, are asked for with a star first.
const MANY: usize = 4;
/// So many letters of a user's name are kept.
const NAME: usize = 128;

/// Who a request acts as, and by which right: empty where that is its own, or the old one.
pub(crate) struct Acting {
    pub(crate) identity: Identity,
    pub(crate) constraint: &'static str,
}

/// The ways to act as somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As the node that one's own token is bound to.
    AssociatedNode,
    /// As any node.
    ArbitraryNode,
    /// As a service account.
    ServiceAccount,
    /// As anybody else.
    UserInfo,
    /// As anybody, for whatever is to be done.
    Legacy,
}

impl Mode {
    const ALL: [Self; 5] =
        [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo, Self::Legacy];

    /// The right that it takes.
    const fn verb(self) -> &'static str {
        match self {
            Self::AssociatedNode => "impersonate:associated-node",
            Self::ArbitraryNode => "impersonate:arbitrary-node",
            Self::ServiceAccount => "impersonate:serviceaccount",
            Self::UserInfo => "impersonate:user-info",
            Self::Legacy => "impersonate",
        }
    }

    /// Whether it is for somebody like this.
    fn is_for(self, wanted: &Wanted, who: &Identity) -> bool {
        let named = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (node(&wanted.user), account(&wanted.user));
        if wanted.tenant.is_some() {
            return self == Self::Legacy;
        }
        match self {
            Self::AssociatedNode => {
                let own = who.extra.get(NODE).filter(|_| self::account(&who.user).is_some());
                named && node.zip(own).is_some_and(|(node, own)| own.as_slice() == [node])
            }
            Self::ArbitraryNode => named && node.is_some(),
            Self::ServiceAccount => named && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Legacy => true,
        }
    }
}

/// In which way each user was let act as another one last: a memory of so many users of one tenant, and of all.
pub(crate) struct Modes(Mutex<Kept<String, Mode>>);

impl Default for Modes {
    fn default() -> Self {
        Self(Mutex::new(Kept::new((1_000, 10_000))))
    }
}

impl Modes {
    fn of(&self, who: &Identity) -> Option<Mode> {
        self.0.lock().get(tenant_of(who), &remembered(who))
    }

    fn note(&self, who: &Identity, mode: Mode) {
        self.0.lock().keep(tenant_of(who), remembered(who), mode, 1);
    }
}

/// The beginning of a user's name. Only the order of what is tried depends on it.
fn remembered(who: &Identity) -> String {
    who.user.chars().take(NAME).collect()
}

fn tenant_of(who: &Identity) -> &str {
    who.tenant.as_ref().map_or("", TenantName::as_str)
}

/// Who somebody wants to be.
#[derive(Default)]
struct Wanted {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
    /// Whose user that is, where it is another tenant's.
    tenant: Option<TenantName>,
}

/// The namespace and the name of the service account whose user has a name.
fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (label_fault(namespace).is_none() && subdomain_fault(name).is_none()).then_some((namespace, name))
}

/// The name of the node whose user has a name.
fn node(user: &str) -> Option<&str> {
    user.strip_prefix("system:node:").filter(|name| subdomain_fault(name).is_none())
}

/// The tenant that somebody names as `tenant:NAME:USER`, and its user. To anybody but `system`'s users that is one more
/// name of their own tenant.
fn elsewhere<'a>(who: &Identity, user: &'a str) -> Option<(TenantName, &'a str)> {
    let (tenant, user) = user.strip_prefix(ELSEWHERE).filter(|_| who.is_system())?.split_once(':')?;
    let tenant = TenantName::new(tenant).ok().filter(|tenant| !tenant.is_system() && !user.is_empty())?;
    Some((tenant, user))
}

/// How many names a request says that it is to act as: none where it acts as its own.
pub(crate) fn names_asked(headers: &HeaderMap) -> u32 {
    let names = headers.iter().filter(|(name, _)| name.as_str().starts_with("impersonate-")).count();
    u32::try_from(names).unwrap_or(u32::MAX)
}

/// The identity a request acts as: its own, or the one it impersonates, if it may. The tenant changes only where a user
/// of `system` acts as one of another tenant, named as such, and may `impersonate` (as of old) that of all `tenants`.
/// `asked` is what is to be done, if that is known. The way that `last` succeeded is tried first, as upstream does.
///
/// # Errors
/// 403 when it may not, in the words of the first way that was tried.
pub(crate) fn acting(
    authorizer: &Authorizer,
    last: Option<&Modes>,
    identity: Identity,
    headers: &HeaderMap,
    asked: Option<&Attributes<'_>>,
) -> Result<Acting, Status> {
    let Some(mut wanted) = Wanted::of(headers)? else { return Ok(Acting { identity, constraint: "" }) };
    if let Some((tenant, user)) = elsewhere(&identity, &wanted.user) {
        (wanted.user, wanted.tenant) = (user.to_owned(), Some(tenant));
    }
    let known = last.and_then(|last| last.of(&identity));
    let others = Mode::ALL.into_iter().filter(|mode| Some(*mode) != known);
    let mut refused = None;
    for mode in known.into_iter().chain(others).filter(|mode| mode.is_for(&wanted, &identity)) {
        match (Question { authorizer, who: &identity, wanted: &wanted, mode }).ask(asked) {
            Ok(acts_as) => {
                if let Some(last) = last.filter(|_| Some(mode) != known) {
                    last.note(&identity, mode);
                }
                let constraint = if mode == Mode::Legacy { "" } else { mode.verb() };
                return Ok(Acting { identity: acts_as, constraint });
            }
            Err(status) => {
                refused.get_or_insert(status);
            }
        }
    }
    Err(refused.unwrap_or_else(|| Status::failure(Reason::Forbidden, "all impersonation modes failed")))
}

impl Wanted {
    fn of(headers: &HeaderMap) -> Result<Option<Self>, Status> {
        let one = |name: &str| headers.get(name).map(said).unwrap_or_default();
        let wanted = Self {
            user: one("impersonate-user"),
            uid: one("impersonate-uid"),
            groups: headers.get_all("impersonate-group").iter().map(said).collect(),
            extra: extra(headers),
            tenant: None,
        };
        if !wanted.user.is_empty() {
            return Ok(Some(wanted));
        }
        if wanted.groups.is_empty() && wanted.uid.is_empty() && wanted.extra.is_empty() {
            return Ok(None);
        }
        Err(Status::bad_request(wanted.nameless()))
    }

    /// What upstream says of an impersonation that names no user: its own type, written out.
    fn nameless(&self) -> String {
        let Self { uid, groups, extra, .. } = self;
        let list = |values: &[String]| values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ");
        let groups = if groups.is_empty() { "(nil)".to_owned() } else { format!("{{{}}}", list(groups)) };
        let all: Vec<String> =
            extra.iter().map(|(key, values)| format!("{key:?}:[]string{{{}}}", list(values))).collect();
        let extra = if all.is_empty() { "(nil)".to_owned() } else { format!("{{{}}}", all.join(", ")) };
        format!(
            "requested &user.DefaultInfo{{Name:\"\", UID:{uid:?}, Groups:[]string{groups}, \
             Extra:map[string][]string{extra}}} without impersonating a user name"
        )
    }
}

/// `Impersonate-Extra-<key>` headers; keys are percent-encoded, in lower case.
fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix("impersonate-extra-") else { continue };
        let key = crate::request::percent_decode(key, false).map_or_else(|| key.to_owned(), Cow::into_owned);
        extra.entry(key).or_default().push(said(value));
    }
    extra
}

/// Whether somebody may act as somebody else in one of the ways.
struct Question<'a> {
    authorizer: &'a Authorizer,
    who: &'a Identity,
    wanted: &'a Wanted,
    mode: Mode,
}

impl Question<'_> {
    fn ask(&self, asked: Option<&Attributes<'_>>) -> Result<Identity, Status> {
        if self.mode != Mode::Legacy
            && let Some(asked) = asked
        {
            let on = self.mode.verb().replacen(':', "-on:", 1);
            self.authorizer.check(self.who, &Attributes { verb: &format!("{on}:{}", asked.verb), ..*asked })?;
        }
        let wanted = self.wanted;
        if let Some(tenant) = &wanted.tenant {
            self.check(self.attributes("", "tenants", tenant.as_str()))?;
        }
        let mut groups = self.as_user()?;
        if !wanted.uid.is_empty() {
            self.check(self.attributes(AUTHENTICATION, "uids", &wanted.uid))?;
        }
        self.in_groups()?;
        self.with_extra()?;
        let has = |groups: &[String], name: &str| groups.iter().any(|group| group == name);
        let (known, unknown) = ("system:authenticated", "system:unauthenticated");
        if wanted.user == "system:anonymous" {
            if !has(&groups, unknown) {
                groups.push(unknown.to_owned());
            }
        } else if !has(&groups, unknown) && !has(&groups, known) {
            groups.push(known.to_owned());
        }
        let (user, uid, extra) = (wanted.user.clone(), wanted.uid.clone(), wanted.extra.clone());
        let acts_as = Identity { user, uid, groups, extra, ..self.who.clone() };
        Ok(match wanted.tenant.clone() {
            Some(tenant) => Identity { tenant: Some(tenant), tenant_uid: String::new(), ..acts_as },
            None => acts_as,
        })
    }

    fn attributes<'b>(&'b self, group: &'b str, resource: &'b str, name: &'b str) -> Attributes<'b> {
        let tenant = self.who.tenant.as_ref();
        Attributes { verb: self.mode.verb(), tenant, group, resource, name, ..Attributes::default() }
    }

    fn check(&self, attributes: Attributes<'_>) -> Result<(), Status> {
        self.authorizer.check(self.who, &attributes)
    }

    /// The group of the API in which users and groups are asked for.
    fn group(&self) -> &'static str {
        if self.mode == Mode::Legacy { "" } else { AUTHENTICATION }
    }

    /// Asks for the user, and says in which groups that is.
    fn as_user(&self) -> Result<Vec<String>, Status> {
        let (wanted, group) = (self.wanted, self.group());
        let mut groups = wanted.groups.clone();
        if let Some((namespace, name)) = account(&wanted.user) {
            if groups.is_empty() {
                groups.extend(["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]);
            }
            self.check(Attributes { namespace, ..self.attributes(group, "serviceaccounts", name) })?;
            return Ok(groups);
        }
        match node(&wanted.user).filter(|_| self.mode != Mode::Legacy) {
            Some(name) => {
                let name = if self.mode == Mode::AssociatedNode { "*" } else { name };
                self.check(self.attributes(group, "nodes", name))?;
                groups = vec!["system:nodes".to_owned()];
            }
            None => self.check(self.attributes(group, "users", &wanted.user))?,
        }
        Ok(groups)
    }

    fn in_groups(&self) -> Result<(), Status> {
        let (groups, of) = (&self.wanted.groups, |name| self.attributes(self.group(), "groups", name));
        if self.mode != Mode::Legacy {
            for (name, why) in [
                ("", "impersonating the empty string group is not allowed"),
                (MASTERS, "impersonating the system:masters group is not allowed"),
                (COMPONENTS, "impersonating the arktos:components group is not allowed"),
            ] {
                if groups.iter().any(|group| group == name) {
                    return Err(denied(self.who, &of(name), &format!(": {why}")));
                }
            }
            if groups.len() >= MANY && self.check(of("*")).is_ok() {
                return Ok(());
            }
        }
        groups.iter().try_for_each(|group| self.check(of(group.as_str())))
    }

    fn with_extra(&self) -> Result<(), Status> {
        let extra = &self.wanted.extra;
        let of = |subresource, name| Attributes { subresource, ..self.attributes(AUTHENTICATION, "userextras", name) };
        if self.mode != Mode::Legacy {
            if let Some(why) = extra.iter().find_map(|(key, values)| odd(key, values)) {
                return Err(denied(self.who, &of("", ""), &format!(": {why}")));
            }
            let many = extra.len() >= MANY || extra.values().map(Vec::len).sum::<usize>() >= MANY;
            if many && self.check(of("*", "*")).is_ok() {
                return Ok(());
            }
        }
        let mut all = extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
        all.try_for_each(|(key, value)| self.check(of(key.as_str(), value.as_str())))
    }
}

/// Why something that is said of a user beside its name cannot be asked for.
fn odd(key: &str, values: &[String]) -> Option<String> {
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".to_owned());
    }
    let fault = match key.split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => subdomain_fault(host).map(|why| (host, why)),
        _ => Some((key, "must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned())),
    };
    if let Some((part, why)) = fault {
        let begin = "impersonating an invalid key in extra is not allowed";
        return Some(format!("{begin}: extra.key: Invalid value: {part:?}: {why}"));
    }
    if key != key.to_lowercase() {
        return Some(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"));
    }
    let empty = values.iter().any(String::is_empty);
    empty.then(|| "impersonating the empty string value in extra is not allowed".to_owned())
}
