//! Ports of hosts: who takes which, and what two takers must not share.

use arktos_core::typed::{ClaimPort, PodSpec};

/// A port that a pod takes of its host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
    /// The port.
    pub port: u16,
    /// The host's address it is bound to; empty for all of them.
    pub address: Box<str>,
}

impl Port {
    /// A port as a claim names it.
    #[must_use]
    pub fn new(protocol: &str, port: u16, address: &str) -> Self {
        let protocol = if protocol.is_empty() { "TCP" } else { protocol };
        let address = if matches!(address, "0.0.0.0" | "::") { "" } else { address };
        Self { protocol: protocol.into(), port, address: address.into() }
    }

    /// Whether two pods on one host cannot have both.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let overlap = self.address.is_empty() || other.address.is_empty() || self.address == other.address;
        self.port == other.port && self.protocol == other.protocol && overlap
    }
}

impl From<&ClaimPort> for Port {
    fn from(port: &ClaimPort) -> Self {
        Self::new(&port.protocol, port.port, &port.address)
    }
}

impl From<&Port> for ClaimPort {
    fn from(port: &Port) -> Self {
        Self {
            protocol: port.protocol.as_ref().to_owned(),
            port: port.port,
            address: port.address.as_ref().to_owned(),
            ..Self::default()
        }
    }
}

/// The ports that a pod takes of its host, sorted.
#[must_use]
pub fn ports_of(spec: &PodSpec) -> Box<[Port]> {
    let sidecars = spec.init_containers.iter().filter(|container| container.restart_policy == "Always");
    let mut ports: Vec<Port> = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| &container.ports)
        .map(|port| (port, if spec.host_network { port.container_port } else { port.host_port }))
        .filter_map(|(port, taken)| Some(Port::new(&port.protocol, u16::try_from(taken).ok()?, &port.host_ip)))
        .filter(|port| port.port > 0)
        .collect();
    ports.sort();
    ports.dedup();
    ports.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_all_addresses_collides_with_one_on_any() {
        let any = Port::new("", 80, "0.0.0.0");
        assert!(any.collides(&Port::new("TCP", 80, "10.0.0.1")));
        assert!(!Port::new("TCP", 80, "10.0.0.2").collides(&Port::new("TCP", 80, "10.0.0.1")));
        assert!(!any.collides(&Port::new("UDP", 80, "")));
        assert!(!any.collides(&Port::new("TCP", 81, "")));
    }
}
