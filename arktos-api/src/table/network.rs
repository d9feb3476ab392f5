//! The rows of services and networks.

use std::collections::BTreeSet;

use serde_json::Value;

use super::row::{Cells, NONE, Row, UNSET, cells, first_of, joined, labels, plain, selector, text};

/// How many addresses, ports or hosts are shown before the rest is counted.
const SHOWN: usize = 3;

pub fn service(row: &Row<'_>) -> Cells {
    let ports: Vec<String> = row.list("/spec/ports").iter().map(port).collect();
    cells![
        row.name(),
        row.text("/spec/type"),
        row.text_or("/spec/clusterIPs/0", NONE),
        external_address(row),
        if ports.is_empty() { NONE.to_owned() } else { ports.join(",") },
        row.age(),
        labels(row.map("/spec/selector")),
    ]
}

fn port(port: &Value) -> String {
    let number = |field: &str| port.get(field).and_then(Value::as_i64).unwrap_or(0);
    let protocol = text(port, "/protocol");
    match number("nodePort") {
        0 => format!("{}/{protocol}", number("port")),
        node_port => format!("{}:{node_port}/{protocol}", number("port")),
    }
}

fn external_address(row: &Row<'_>) -> String {
    let addresses = joined(row.list("/spec/externalIPs"), ",");
    match row.text("/spec/type") {
        "ExternalName" => row.text("/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let all: Vec<String> =
                [balancer(row), addresses].into_iter().filter(|addresses| !addresses.is_empty()).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ClusterIP" | "NodePort" if addresses.is_empty() => NONE.to_owned(),
        "ClusterIP" | "NodePort" => addresses,
        _ => "<unknown>".to_owned(),
    }
}

/// The addresses under which a load balancer is reached.
fn balancer(row: &Row<'_>) -> String {
    let entries = row.list("/status/loadBalancer/ingress").iter();
    let addresses: BTreeSet<&str> = entries
        .map(|entry| if text(entry, "/ip").is_empty() { text(entry, "/hostname") } else { text(entry, "/ip") })
        .filter(|address| !address.is_empty())
        .collect();
    addresses.into_iter().collect::<Vec<_>>().join(",")
}

pub fn endpoints(row: &Row<'_>) -> Cells {
    let mut all = Vec::new();
    for subset in row.list("/subsets") {
        let list = |field: &str| subset.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let addresses = list("addresses").iter().map(|address| text(address, "/ip"));
        if list("ports").is_empty() {
            all.extend(addresses.clone().map(str::to_owned));
        }
        for port in list("ports") {
            let port = port.get("port").map_or_else(String::new, plain);
            all.extend(addresses.clone().map(|address| match address.contains(':') {
                true => format!("[{address}]:{port}"),
                false => format!("{address}:{port}"),
            }));
        }
    }
    let shown = if row.count("/subsets") == 0 { NONE.to_owned() } else { first_of(&all, SHOWN, ",") };
    cells![row.name(), shown, row.age()]
}

pub fn endpoint_slice(row: &Row<'_>) -> Cells {
    let port = |port: &Value| {
        let shown = port.get("port").or_else(|| port.get("name")).filter(|value| !value.is_null());
        shown.map_or_else(|| "*".to_owned(), plain)
    };
    let ports: Vec<String> = row.list("/ports").iter().map(port).collect();
    let addresses = row.list("/endpoints").iter().filter_map(|endpoint| endpoint.get("addresses")?.as_array());
    let addresses: Vec<String> = addresses.flatten().map(plain).collect();
    let shown = |all: &[String]| match first_of(all, SHOWN, ",") {
        nothing if nothing.is_empty() => UNSET.to_owned(),
        shown => shown,
    };
    cells![row.name(), row.text("/addressType"), shown(&ports), shown(&addresses), row.age()]
}

pub fn ingress(row: &Row<'_>) -> Cells {
    let rules = row.list("/spec/rules");
    let named: Vec<&str> = rules.iter().map(|rule| text(rule, "/host")).filter(|host| !host.is_empty()).collect();
    let mut hosts = named.iter().take(SHOWN).copied().collect::<Vec<_>>().join(",");
    let third = rules.iter().scan(0, |count, rule| {
        *count += usize::from(!text(rule, "/host").is_empty());
        Some(*count)
    });
    // As upstream counts: any rule after the last host that is shown makes "more", named or not.
    if third.take(rules.len().saturating_sub(1)).any(|count| count >= SHOWN) {
        hosts = format!("{hosts} + {} more...", rules.len() - SHOWN);
    }
    let ports = if row.count("/spec/tls") > 0 { "80, 443" } else { "80" };
    cells![
        row.name(),
        row.text_or("/spec/ingressClassName", NONE),
        if hosts.is_empty() { "*".to_owned() } else { hosts },
        balancer(row),
        ports,
        row.age(),
    ]
}

pub fn ingress_class(row: &Row<'_>) -> Cells {
    let parameters = match row.at("/spec/parameters") {
        Some(parameters) => {
            let dot = if text(parameters, "/apiGroup").is_empty() { "" } else { "." };
            let kind = text(parameters, "/kind");
            format!("{kind}{dot}{}/{}", text(parameters, "/apiGroup"), text(parameters, "/name"))
        }
        None => NONE.to_owned(),
    };
    cells![row.name(), row.text("/spec/controller"), parameters, row.age()]
}

pub fn network_policy(row: &Row<'_>) -> Cells {
    cells![row.name(), selector(row.at("/spec/podSelector")), row.age()]
}

pub fn ip_address(row: &Row<'_>) -> Cells {
    let parent = match row.at("/spec/parentRef") {
        Some(parent) => {
            let mut name = text(parent, "/resource").to_owned();
            for (separator, field) in [(".", "/group"), ("/", "/namespace"), ("/", "/name")] {
                if !text(parent, field).is_empty() {
                    name = format!("{name}{separator}{}", text(parent, field));
                }
            }
            name
        }
        None => NONE.to_owned(),
    };
    // As upstream has it: the age comes without a column of its own.
    cells![row.name(), parent, row.age()]
}

pub fn service_cidr(row: &Row<'_>) -> Cells {
    cells![row.name(), joined(row.list("/spec/cidrs"), ","), row.age()]
}
