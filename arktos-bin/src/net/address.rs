//! Addresses given on the command line.

use std::net::{SocketAddr, ToSocketAddrs};

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
}
