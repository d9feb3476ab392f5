//! Addresses given on the command line.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// Resolves `host:port`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn resolve(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{text:?} is not an address and port: {error}"))?;
    found.next().ok_or_else(|| format!("{text:?} has no address"))
}

/// Resolves `host:port` and refuses what other machines could reach.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn resolve_loopback(text: &str) -> Result<SocketAddr, String> {
    let address = resolve(text)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(format!(
        "{text}: plain HTTP is served on loopback only (127.0.0.1 or [::1]); use --listen, with TLS, for others"
    ))
}

/// Where pods find a server that listens at `address`: behind loopback and «every address» stands the address by which
/// this machine reaches others, as Kubernetes has it; `address` itself where the machine reaches nobody.
#[must_use]
pub fn found_at(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_loopback() && !address.ip().is_unspecified() {
        return address;
    }
    // Connecting such a socket chooses a route, and sends nothing. The addresses are those set aside for documents.
    let route = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
            .and_then(|socket| socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr())),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).and_then(|socket| {
            socket.connect((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9)).and_then(|()| socket.local_addr())
        }),
    };
    match route {
        Ok(own) if !own.ip().is_unspecified() => SocketAddr::new(own.ip(), address.port()),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_loopback() {
        assert!(resolve_loopback("127.0.0.1:8080").is_ok());
        assert!(resolve_loopback("[::1]:8080").is_ok());
        assert!(resolve_loopback("0.0.0.0:8080").is_err());
        assert!(resolve("nonsense").is_err());
    }

    #[test]
    fn a_server_is_found_at_the_address_it_has_for_others_and_at_its_own_port() {
        let given: SocketAddr = "192.0.2.7:6443".parse().expect("an address");
        assert_eq!(found_at(given), given);
        for here in ["127.0.0.1:6443", "0.0.0.0:6443", "[::1]:6443", "[::]:6443"] {
            let here: SocketAddr = here.parse().expect("an address");
            let found = found_at(here);
            assert_eq!((found.port(), found.is_ipv4()), (6443, here.is_ipv4()));
            assert!(found == here || !found.ip().is_unspecified(), "{found}");
        }
    }
}
