//! Calling the webhooks that tenants configure: over HTTPS, to addresses that a tenant may reach, without redirects.
//!
//! A tenant says where its webhooks are, and the server can reach what the tenant cannot: its own loopback, the
//! network it stands in, the metadata service of a cloud. So only public addresses are called, and those that the
//! operator names. The address that was looked at is the one that is connected to: a name that means another one a
//! moment later gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use arktos_api::{Caller, WebhookTarget};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls;

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 3 << 20;

/// A range of addresses that webhooks may be at although they are not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedRange {
    address: IpAddr,
    prefix: u8,
}

impl FromStr for AllowedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not a range of addresses such as 10.0.0.0/8");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix <= most { Ok(Self { address, prefix }) } else { Err(wrong()) }
    }
}

impl AllowedRange {
    fn contains(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, bits: u32| {
            let shift = bits - u32::from(self.prefix);
            shift == bits || one >> shift == other >> shift
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(u32::from(own).into(), u32::from(other).into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.into(), other.into(), 128),
            _ => false,
        }
    }
}

/// Calls webhooks, each call over a connection of its own.
#[derive(Debug, Clone, Default)]
pub struct Webhooks {
    allowed: Vec<AllowedRange>,
}

impl Webhooks {
    /// Webhooks at public addresses, and in these ranges.
    #[must_use]
    pub fn new(allowed: Vec<AllowedRange>) -> Self {
        Self { allowed }
    }

    /// The addresses of the host, if they may be called.
    async fn addresses(&self, host: &str, port: u16, given: Option<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        let found = match (given, host.trim_matches(['[', ']']).parse::<IpAddr>()) {
            (Some(address), _) => vec![address],
            (None, Ok(address)) => vec![SocketAddr::new(address, port)],
            (None, Err(_)) => {
                let found = tokio::net::lookup_host((host, port)).await;
                found.map_err(|error| format!("looking up {host}: {error}"))?.collect()
            }
        };
        self.callable(host, found)
    }

    fn callable(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        // One bad address among several is no mistake of the tenant's: somebody is trying something.
        if !found.is_empty() && found.iter().all(|address| self.may_call(address.ip())) {
            return Ok(found);
        }
        Err(format!(
            "webhooks may not be called at the address of {host}: the operator can allow it with \
             --webhook-allowed-ranges"
        ))
    }

    fn may_call(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|range| range.contains(address)) || is_public(address)
    }

    async fn post(&self, target: &WebhookTarget, body: Bytes) -> Result<Bytes, String> {
        let uri: Uri = target.url.parse().map_err(|error| format!("{}: {error}", target.url))?;
        let host =
            uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or("the URL is not https://host[/path]")?;
        let addresses = self.addresses(host, uri.port_u16().unwrap_or(443), target.address).await?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| error.to_string())?;
        let authority = std::str::from_utf8(&target.ca_bundle).unwrap_or_default();
        if authority.is_empty() {
            return Err("a webhook needs a caBundle: no other authority is trusted".to_owned());
        }
        let config = tls::client(None, authority).map_err(|error| format!("the caBundle: {error}"))?;
        // One after the other: a name may have addresses of both families, and the webhook listen at one.
        let stream = TcpStream::connect(&addresses[..]).await;
        let stream = stream.map_err(|error| format!("dial tcp {}: {error}", addresses[0]))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = stream.map_err(|error| format!("tls: {error}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let request = Request::post(path)
            .header(header::HOST, uri.authority().map_or(host, http::uri::Authority::as_str))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            if !status.is_success() {
                return Err(format!("the server answered {status}"));
            }
            let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            body.map(|body| body.to_bytes()).map_err(|error| format!("reading the answer: {error}"))
        };
        // The connection lives as long as the exchange, which sees for itself when it ends too early.
        let driven = async {
            drop(connection.await);
            std::future::pending().await
        };
        tokio::select! {
            answer = exchange => answer,
            never = driven => never,
        }
    }
}

#[async_trait]
impl Caller for Webhooks {
    async fn call(&self, target: &WebhookTarget, body: Bytes) -> Result<Bytes, String> {
        self.post(target, body).await.map_err(|why| format!("Post \"{}\": {why}", target.url))
    }
}

/// Whether anybody on the internet could reach an address.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    let benchmark = first == 198 && (18..20).contains(&second);
    !(first == 0
        || first >= 240
        || shared
        || benchmark
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || address.octets().starts_with(&[192, 0, 0]))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // What is given out to the world; tunnels and translations within it lead to addresses of the other family.
    (0x2000..0x4000).contains(&first) && first != 0x2002 && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_called_unless_the_operator_allows_more() {
        let strict = Webhooks::default();
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(!strict.may_call(inside.parse().expect(inside)), "{inside}");
        }
        for outside in ["8.8.8.8", "1.1.1.1", "2606:4700::1111"] {
            assert!(strict.may_call(outside.parse().expect(outside)), "{outside}");
        }
        let lenient =
            Webhooks::new(vec!["127.0.0.0/8".parse().expect("a range"), "fd00::/8".parse().expect("a range")]);
        assert!(lenient.may_call("127.0.0.1".parse().expect("an address")));
        assert!(lenient.may_call("::ffff:127.0.0.1".parse().expect("an address")));
        assert!(lenient.may_call("fd00::1".parse().expect("an address")));
        assert!(!lenient.may_call("10.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn a_name_with_one_address_that_may_not_be_called_is_not_called_at_the_others() {
        let at = |text: &str| -> Vec<SocketAddr> {
            text.split(' ').map(|one| one.parse().expect("an address and a port")).collect()
        };
        let strict = Webhooks::default();
        let public = at("8.8.8.8:443 [2606:4700::1111]:443");
        assert_eq!(strict.callable("a.example", public.clone()), Ok(public));
        for found in [at("8.8.8.8:443 127.0.0.1:443"), at("[::1]:443 8.8.8.8:443"), Vec::new()] {
            assert!(strict.callable("a.example", found).is_err_and(|why| why.contains("may not be called")));
        }
    }

    #[test]
    fn a_range_is_an_address_and_a_prefix() {
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "::/129"] {
            assert!(bad.parse::<AllowedRange>().is_err(), "{bad}");
        }
        let all: AllowedRange = "0.0.0.0/0".parse().expect("a range");
        assert!(all.contains("127.0.0.1".parse().expect("an address")));
    }
}
