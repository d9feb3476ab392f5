//! The signers of Kubernetes, and what each signs.

use super::Asked;

/// A signer whose requests are looked after here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signer {
    /// Of clients of the API.
    Client,
    /// Of nodes, as clients of the API.
    NodeClient,
    /// Of nodes, as servers.
    NodeServer,
}

/// Who may do everything, and who speaks for the region: no request makes anybody one of these.
const RESERVED: [&str; 2] = ["system:masters", "arktos:components"];
const NODES: &str = "system:nodes";
const NODE: &str = "system:node:";

impl Signer {
    /// The signer of a name.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "kubernetes.io/kube-apiserver-client" => Some(Self::Client),
            "kubernetes.io/kube-apiserver-client-kubelet" => Some(Self::NodeClient),
            "kubernetes.io/kubelet-serving" => Some(Self::NodeServer),
            _ => None,
        }
    }

    /// What stands against signing a request, in upstream's words.
    ///
    /// # Errors
    /// The sentence.
    pub(super) fn check(self, asked: &Asked, usages: &[String], of_tenant: bool) -> Result<(), String> {
        self.check_usages(usages)?;
        match self {
            Self::Client => {}
            Self::NodeClient => is_node(asked).and_then(|()| no_names(asked))?,
            Self::NodeServer => is_node(asked).and_then(|()| names_of_server(asked))?,
        }
        if of_tenant && self == Self::NodeServer {
            return Err("the region's authority signs no server certificates for tenants".to_owned());
        }
        if let Some(group) = asked.groups.iter().find(|group| is_reserved(group)) {
            return Err(format!("no certificate is signed for the group {group}"));
        }
        Ok(())
    }

    fn check_usages(self, usages: &[String]) -> Result<(), String> {
        let main = if self == Self::NodeServer { "server auth" } else { "client auth" };
        let has = |usage: &str| usages.iter().any(|it| it == usage);
        let known = usages.iter().all(|it| ["key encipherment", "digital signature", main].contains(&it.as_str()));
        // A node says that it signs; any other client may leave it out.
        if known && has(main) && (self == Self::Client || has("digital signature")) {
            return Ok(());
        }
        match self {
            Self::Client => Err(format!("usages did not match: [{}]", usages.join(" "))),
            _ => Err(format!("usages did not match [key encipherment digital signature {main}]")),
        }
    }
}

/// Whether a group makes more of somebody than a request may: also one that would name a tenant.
fn is_reserved(group: &str) -> bool {
    RESERVED.contains(&group) || group.starts_with("tenant:")
}

fn is_node(asked: &Asked) -> Result<(), String> {
    if asked.groups != [NODES] {
        return Err("subject organization is not system:nodes".to_owned());
    }
    if !asked.user.starts_with(NODE) {
        return Err("subject common name does not begin with system:node:".to_owned());
    }
    no_mails_or_uris(asked)
}

fn no_mails_or_uris(asked: &Asked) -> Result<(), String> {
    for (names, what) in [(&asked.mails, "Email"), (&asked.uris, "URI")] {
        if !names.is_empty() {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    Ok(())
}

fn no_names(asked: &Asked) -> Result<(), String> {
    for (names, what) in [(&asked.dns_names, "DNS"), (&asked.addresses, "IP")] {
        if !names.is_empty() {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    Ok(())
}

fn names_of_server(asked: &Asked) -> Result<(), String> {
    if asked.dns_names.is_empty() && asked.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Asked {
        Asked { user: "system:node:n1".to_owned(), groups: vec![NODES.to_owned()], ..Asked::default() }
    }

    fn usages(main: &str) -> Vec<String> {
        vec!["digital signature".to_owned(), main.to_owned()]
    }

    #[test]
    fn each_signer_signs_what_upstream_does() {
        let (client, server) = (usages("client auth"), usages("server auth"));
        assert_eq!(Signer::NodeClient.check(&node(), &client, false), Ok(()));
        let said = |signer: Signer, asked: &Asked, usages: &[String]| signer.check(asked, usages, false).unwrap_err();
        assert!(said(Signer::NodeClient, &node(), &server).starts_with("usages did not match"));
        assert_eq!(said(Signer::NodeServer, &node(), &server), "DNS or IP subjectAltName is required");
        let named = Asked { dns_names: vec!["n1".to_owned()], ..node() };
        assert_eq!(Signer::NodeServer.check(&named, &server, false), Ok(()));
        assert_eq!(said(Signer::NodeClient, &named, &client), "DNS subjectAltNames are not allowed");
        let other = Asked { groups: vec!["dev".to_owned()], ..node() };
        assert_eq!(said(Signer::NodeClient, &other, &client), "subject organization is not system:nodes");
        let other = Asked { user: "n1".to_owned(), ..node() };
        assert!(said(Signer::NodeClient, &other, &client).starts_with("subject common name does not begin"));
        let alice = Asked { user: "alice".to_owned(), groups: vec!["dev".to_owned()], ..Asked::default() };
        assert_eq!(Signer::Client.check(&alice, &["client auth".to_owned()], true), Ok(()));
        assert_eq!(said(Signer::Client, &alice, &server), "usages did not match: [digital signature server auth]");
        assert_eq!(Signer::of("kubernetes.io/legacy-unknown"), None);
    }

    #[test]
    fn no_request_makes_anybody_a_master_a_component_another_tenant_or_a_tenant_a_server() {
        for group in ["system:masters", "arktos:components", "tenant:acme", "tenant:system"] {
            let asked = Asked { user: "eve".to_owned(), groups: vec![group.to_owned()], ..Asked::default() };
            for of_tenant in [true, false] {
                let said = Signer::Client.check(&asked, &usages("client auth"), of_tenant).unwrap_err();
                assert!(said.contains(group), "{said}");
            }
        }
        let server = Asked { dns_names: vec!["kubernetes".to_owned()], ..node() };
        assert!(Signer::NodeServer.check(&server, &usages("server auth"), true).is_err());
    }
}
