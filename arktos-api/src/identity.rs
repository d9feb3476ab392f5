//! Who is asking.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, OnceLock};

use arktos_core::{Status, TenantName};

/// The group that may do everything (within its tenant; in `system`, everywhere).
pub const MASTERS: &str = "system:masters";
/// The group of the region's own components.
pub const COMPONENTS: &str = "arktos:components";
/// The common name of the gateway's certificate: the only peer whose forwarded identities count.
pub const GATEWAY: &str = "arktos:gateway";

/// How users and groups of another tenant are named: `tenant:umbra:uma`.
pub(crate) const ELSEWHERE: &str = "tenant:";

/// The header in which a gateway says which address a request has come from.
pub const SOURCE: &str = "x-remote-address";

/// Who is asking: decided by credentials alone, never by a path, a header of an unauthenticated peer, or a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// The user's uid; often empty.
    pub uid: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// The tenant the user belongs to. A user without one may only ask what is public.
    pub tenant: Option<TenantName>,
    /// The uid of the tenant's object that the credential was given out for. Where it says one, it ends with that
    /// tenant; where it is empty, it is good for any tenant of the name.
    pub tenant_uid: String,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A user of a tenant.
    #[must_use]
    pub fn user(name: &str, groups: &[&str], tenant: &TenantName) -> Self {
        Self {
            user: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).chain(["system:authenticated".to_owned()]).collect(),
            tenant: Some(tenant.clone()),
            ..Self::default()
        }
    }

    /// A component of the region: tenant `system`, group `system:masters`.
    #[must_use]
    pub fn system_component(name: &str) -> Self {
        Self::user(name, &[MASTERS, COMPONENTS], &TenantName::system())
    }

    /// Who asks without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            user: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            tenant: Some(TenantName::system()),
            ..Self::default()
        }
    }

    /// Whether the user is in a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one == group)
    }

    /// The name of the node that this is, if it is one; empty where its name does not say which.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.user.strip_prefix("system:node:").filter(|_| self.is_in("system:nodes"))
    }

    /// Whether the user belongs to the tenant `system`.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.tenant.as_ref().is_some_and(TenantName::is_system)
    }

    /// Whether this is a component of the region (or its administrator), which may see the control plane's notes.
    #[must_use]
    pub fn is_component(&self) -> bool {
        self.is_system() && (self.is_in(COMPONENTS) || self.is_in(MASTERS))
    }
}

/// Reads `TENANT` or `TENANT:UID`, as certificates and token files name the tenant of a credential.
pub(crate) fn tenant_and_uid(text: &str) -> Result<(TenantName, String), arktos_core::name::InvalidTenantName> {
    let (name, uid) = text.split_once(':').unwrap_or((text, ""));
    Ok((TenantName::new(name)?, uid.to_owned()))
}

/// The client certificate of the peer, DER, as the TLS layer verified it. Put into the request's extensions by whoever
/// owns the connection, and by nobody else.
#[derive(Debug, Clone)]
pub struct PeerCertificate(Arc<Peer>);

#[derive(Debug)]
struct Peer {
    der: Vec<u8>,
    /// Whose it is, once somebody has read it: the requests of a connection share it.
    identity: OnceLock<Result<Identity, Status>>,
}

impl PeerCertificate {
    /// A certificate, DER, that the TLS layer has verified.
    #[must_use]
    pub fn new(der: Vec<u8>) -> Self {
        Self(Arc::new(Peer { der, identity: OnceLock::new() }))
    }

    /// Whose it is, as `read` reads it the first time.
    pub(crate) fn identity(&self, read: impl FnOnce(&[u8]) -> Result<Identity, Status>) -> Result<Identity, Status> {
        self.0.identity.get_or_init(|| read(&self.0.der)).clone()
    }
}

/// Where a request comes from. Put into the request's extensions by whoever owns the connection, and by nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub std::net::SocketAddr);

/// Where an address is, for what is counted by address: IPv6 gives one customer a whole network of 64 bits.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & u128::MAX << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// Bearer tokens and whose they are. Cloning it shares it.
#[derive(Debug, Clone, Default)]
pub struct TokenTable {
    tokens: Arc<HashMap<String, Identity>>,
}

/// A line of a token file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the token file: {fault}")]
pub struct TokenFileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: String,
}

impl TokenTable {
    /// Reads Arktos's token file: `token,user,uid[,"group1,group2"[,,tenant]]`, one a line. The tenant is the last
    /// column, after an empty one, and `system` where it is not given; as `tenant:uid`, the token ends with the tenant
    /// of that uid. Lines that begin with `#` say nothing.
    ///
    /// # Errors
    /// [`TokenFileError`] names the first line that cannot be read.
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut tokens = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (token, identity) = token_line(line).map_err(|fault| TokenFileError { line: at + 1, fault })?;
            tokens.insert(token, identity);
        }
        Ok(Self { tokens: Arc::new(tokens) })
    }

    /// Whose token this is.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<&Identity> {
        self.tokens.get(token)
    }
}

fn token_line(line: &str) -> Result<(String, Identity), String> {
    let columns = split_csv(line)?;
    let [token, user, uid, rest @ ..] = columns.as_slice() else {
        return Err("needs at least token, user and uid".to_owned());
    };
    if token.is_empty() || user.is_empty() {
        return Err("the token and the user may not be empty".to_owned());
    }
    let groups = rest.first().map_or("", String::as_str);
    let (tenant, tenant_uid) = match rest {
        [_, .., last] if rest.len() >= 3 && !last.is_empty() => {
            tenant_and_uid(last).map_err(|error| error.to_string())?
        }
        _ => (TenantName::system(), String::new()),
    };
    let groups: Vec<&str> = groups.split(',').map(str::trim).filter(|group| !group.is_empty()).collect();
    let identity = Identity { uid: uid.clone(), tenant_uid, ..Identity::user(user, &groups, &tenant) };
    Ok((token.clone(), identity))
}

fn split_csv(line: &str) -> Result<Vec<String>, String> {
    let (mut columns, mut column, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                column.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(std::mem::take(&mut column).trim().to_owned()),
            other => column.push(other),
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    columns.push(column.trim().to_owned());
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_is_the_tenant_and_system_when_it_is_missing() {
        let table = TokenTable::parse(
            "# tokens\nt1,admin,u1,system:masters\nt2,alice,u2,\"dev,ops\",,acme\n\nt3,bob,u3,,,acme\nt4,carl,u4\n",
        )
        .expect("reads");
        assert!(table.find("t1").expect("there").is_system());
        let alice = table.find("t2").expect("there");
        assert_eq!(alice.tenant.as_ref().map(TenantName::as_str), Some("acme"));
        assert_eq!(alice.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(table.find("t3").expect("there").tenant, alice.tenant);
        assert!(table.find("t4").expect("there").is_system());
        assert!(table.find("").is_none());
        assert_eq!(TokenTable::parse("a,b\n").expect_err("too short").line, 1);
        assert!(TokenTable::parse("t,a,u,\"x,,acme").is_err());
        assert!(TokenTable::parse("t,a,u,x,,All").is_err());
    }
}
