//! Addresses and ports of services: counters with limit 1, changed in the commit that writes the service.
//!
//! Nobody keeps a list of what is free: an address is tried, and the commit refuses it when it is taken.

use std::sync::Arc;

use arktos_core::name::path_segment_faults;
use arktos_core::{Object, Status, rules};
use arktos_store::{Commit, CounterChange};
use serde_json::{Value, json};

use crate::call::Call;
use crate::config::{NodePorts, ServiceCidr};
use crate::query::cause;

/// How many addresses or ports are tried before giving up.
const TRIES: u32 = 4096;

/// What a write takes and gives back.
#[derive(Debug, Default)]
pub(crate) struct Allocation {
    address: Option<Pick>,
    /// With the indexes of the ports that have it.
    ports: Vec<(Vec<usize>, Pick)>,
    /// Where a load balancer asks whether a host has endpoints.
    health: Option<Pick>,
    /// Headless, without a selector: ready for both families.
    both: bool,
    released: Vec<Arc<str>>,
    /// Whose service it is.
    tenant: String,
    /// Where the next try of an address begins.
    seed: u32,
    tries: u32,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pick {
    value: String,
    counter: Arc<str>,
    /// Asked for by the client: it is that one or none.
    asked: bool,
}

/// Each tenant has the whole range to itself, as it has a network of its own.
fn address_counter(tenant: &str, address: &str) -> Arc<str> {
    format!("service/{tenant}/ip/{address}").into()
}

fn port_counter(tenant: &str, port: i64) -> Arc<str> {
    format!("service/{tenant}/nodeport/{port}").into()
}

impl Allocation {
    /// What a new object takes.
    ///
    /// # Errors
    /// 422 for addresses and ports outside of their ranges.
    pub(crate) fn of_create(call: &Call<'_>, object: &mut Object) -> Result<Self, Status> {
        Self::plan(call, None, object)
    }

    /// What a changed object takes and gives back.
    ///
    /// # Errors
    /// As [`of_create`](Self::of_create).
    pub(crate) fn of_update(call: &Call<'_>, old: &Object, new: &mut Object) -> Result<Self, Status> {
        Self::plan(call, Some(old), new)
    }

    fn plan(call: &Call<'_>, old: Option<&Object>, new: &mut Object) -> Result<Self, Status> {
        let mut plan = Self { name: new.name().to_owned(), ..Self::default() };
        if call.kind.storage_resource.as_str() != "services" {
            return Ok(plan);
        }
        plan.tenant = call.one_tenant()?.to_string();
        plan.seed = u32::try_from(call.state.config.random.next() >> 33).unwrap_or(0);
        if let Some(old) = old {
            keep(old, new);
        }
        plan.both = families(new);
        let before = old.map(|old| counters_of(&plan.tenant, old));
        let held = before.as_deref().unwrap_or_default();
        plan.plan_address(call, new, held)?;
        if old.is_none() && !call.options.dry_run {
            plan.check_address(call)?;
        }
        plan.plan_ports(call, new, before.as_deref())?;
        plan.plan_health(call, new, held);
        let kept = counters_of(&plan.tenant, new);
        plan.released = held.iter().filter(|counter| !kept.contains(counter)).cloned().collect();
        Ok(plan)
    }

    fn plan_address(&mut self, call: &Call<'_>, new: &mut Object, held: &[Arc<str>]) -> Result<(), Status> {
        let (kind, asked) = (new.str_at(&["spec", "type"]), new.str_at(&["spec", "clusterIP"]).to_owned());
        if kind == "ExternalName" || asked == "None" {
            return Ok(());
        }
        let cidr = &call.state.config.service_cidr;
        if asked.is_empty() && call.options.dry_run {
            // Nobody keeps it, so it need not be free: upstream shows the address of the range itself.
            self.address =
                Some(Pick { value: cidr.base().to_string(), counter: address_counter(&self.tenant, ""), asked: false });
            return Ok(());
        }
        if asked.is_empty() {
            let value = next_address(cidr, self.seed, 0);
            self.address = Some(Pick { counter: address_counter(&self.tenant, &value), value, asked: false });
            return Ok(());
        }
        let counter = address_counter(&self.tenant, &asked);
        if held.contains(&counter) {
            return Ok(());
        }
        match asked.parse() {
            Ok(address) if cidr.contains(address) => {}
            Ok(_) => {
                let why = format!(
                    "failed to allocate IP {asked}: the provided IP ({asked}) is not in the valid range. The range of \
                     valid IPs is {cidr}"
                );
                return Err(self.address_fault(call, &asked, &why));
            }
            Err(_) => return Ok(()), // validation has a better answer
        }
        self.address = Some(Pick { value: asked, counter, asked: true });
        Ok(())
    }

    /// Upstream notes whose an address is before it looks at the rest of a new service, and at whether there is one of
    /// its name; and it can note only what may be a part of a path.
    fn check_address(&self, call: &Call<'_>) -> Result<(), Status> {
        const OWNER: &str = "spec.parentRef.name";
        let Some(Pick { value, asked, counter }) = &self.address else { return Ok(()) };
        let mut faults: Vec<String> = path_segment_faults(&self.name)
            .into_iter()
            .map(|why| format!("{OWNER}: Invalid value: {:?}: {why}", self.name))
            .collect();
        if self.name.is_empty() {
            faults.push(format!("{OWNER}: Required value"));
        }
        let told = match faults.as_slice() {
            [] if *asked && is_taken(call, counter) => return Err(self.address_taken(call, value)),
            [] => return Ok(()),
            [one] => one.clone(),
            all => format!("[{}]", all.join(", ")),
        };
        let (said, which) = if *asked { (value.as_str(), format!(" {value}")) } else { ("", String::new()) };
        let why = format!("failed to allocate IP{which}: IPAddress.networking.k8s.io {value:?} is invalid: {told}");
        Err(self.address_fault(call, said, &why))
    }

    fn plan_ports(&mut self, call: &Call<'_>, new: &Object, held: Option<&[Arc<str>]>) -> Result<(), Status> {
        let kind = new.str_at(&["spec", "type"]);
        if !matches!(kind, "NodePort" | "LoadBalancer") {
            return Ok(());
        }
        let given = new.at(&["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool) != Some(false);
        let given = given || kind == "NodePort";
        let ports = new.at(&["spec", "ports"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if ports.len() > rules::PORTS_MAX {
            return Ok(()); // validation has the answer
        }
        let number = |port: &Value, field: &str| port.get(field).and_then(Value::as_i64).unwrap_or(0);
        // Ports of one number, for different protocols, share what the first of them is given or any of them asks for.
        let mut shared: Vec<(i64, usize)> = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let mut asked = number(port, "nodePort");
            if asked == 0 && !given {
                continue; // none is given, but those that are asked for are theirs alone
            }
            if held.is_none() {
                let of_number = number(port, "port");
                if let Some((_, at)) = shared.iter().find(|(known, _)| *known == of_number) {
                    let (indexes, pick) = &mut self.ports[*at];
                    if asked == 0 || pick.value == asked.to_string() {
                        indexes.push(index);
                        continue;
                    }
                } else {
                    let same = ports.iter().filter(|one| number(one, "port") == of_number);
                    asked = same.map(|one| number(one, "nodePort")).find(|asked| *asked != 0).unwrap_or(0);
                    shared.push((of_number, self.ports.len()));
                }
            }
            let pick =
                if asked == 0 { Some(self.any_port(call, index)) } else { self.this_port(call, index, asked, held)? };
            self.ports.extend(pick.map(|pick| (vec![index], pick)));
        }
        Ok(())
    }

    /// A port that nobody asks for by its number.
    fn any_port(&self, call: &Call<'_>, index: usize) -> Pick {
        let value = if call.options.dry_run {
            // As with addresses: a number after those that the service has.
            let highest = self.ports.iter().filter_map(|(_, pick)| pick.value.parse::<i64>().ok()).max();
            highest.unwrap_or(32_768) + 1
        } else {
            let seed = self.seed.wrapping_add(u32::try_from(index).unwrap_or(0));
            next_port(call.state.config.node_ports, seed, 0)
        };
        Pick { value: value.to_string(), counter: port_counter(&self.tenant, value), asked: false }
    }

    /// The port that is asked for; absent where the service has it (`held`: what it has had), or nothing is kept of it.
    fn this_port(
        &self,
        call: &Call<'_>,
        index: usize,
        asked: i64,
        held: Option<&[Arc<str>]>,
    ) -> Result<Option<Pick>, Status> {
        let range = call.state.config.node_ports;
        let counter = port_counter(&self.tenant, asked);
        let known = self.ports.iter().any(|(_, pick)| pick.counter == counter);
        if held.is_some_and(|held| known || held.contains(&counter)) {
            return Ok(None);
        }
        // Upstream leaves allocation out of dry runs.
        let outside = asked < i64::from(range.first) || asked > i64::from(range.last);
        if outside && !call.options.dry_run {
            let why = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                range.first, range.last
            );
            return Err(self.port_fault(call, index, asked, &why));
        }
        if known || is_taken(call, &counter) {
            return Err(self.port_fault(call, index, asked, "provided port is already allocated"));
        }
        Ok(Some(Pick { value: asked.to_string(), counter, asked: true }))
    }

    fn plan_health(&mut self, call: &Call<'_>, new: &Object, held: &[Arc<str>]) {
        let local = new.str_at(&["spec", "type"]) == "LoadBalancer"
            && new.str_at(&["spec", "externalTrafficPolicy"]) == "Local";
        if !local {
            return;
        }
        let asked = new.int_at(&["spec", "healthCheckNodePort"]).unwrap_or(0);
        let counter = port_counter(&self.tenant, asked);
        if asked != 0 {
            let pick = Pick { value: asked.to_string(), counter: counter.clone(), asked: true };
            self.health = (!held.contains(&counter)).then_some(pick);
            return;
        }
        let value = next_port(call.state.config.node_ports, self.seed.wrapping_add(1000), 0);
        self.health = Some(Pick { value: value.to_string(), counter: port_counter(&self.tenant, value), asked: false });
    }

    /// Whether a counter that hit its limit is one of this plan's.
    pub(crate) fn owns(&self, counter: &str) -> bool {
        self.picks().any(|pick| &*pick.counter == counter)
    }

    /// Whether a commit of an object cannot be refused so that it is to be tried again: it takes nothing that may be
    /// taken, and writes no quota beside the object.
    pub(crate) fn is_tried_once(&self, commit: &Commit) -> bool {
        commit.writes.len() == 1 && self.picks().next().is_none()
    }

    fn picks(&self) -> impl Iterator<Item = &Pick> {
        self.address.iter().chain(self.ports.iter().map(|(_, pick)| pick)).chain(&self.health)
    }

    /// The changes of counters.
    pub(crate) fn counters(&self) -> Vec<CounterChange> {
        let taken = self.picks().map(|pick| CounterChange { counter: pick.counter.clone(), delta: 1, limit: Some(1) });
        let released =
            self.released.iter().map(|counter| CounterChange { counter: counter.clone(), delta: -1, limit: None });
        taken.chain(released).collect()
    }

    /// Writes what is taken into the object.
    pub(crate) fn apply(&self, object: &mut Object) {
        if let Some(pick) = &self.address {
            object.set(&["spec", "clusterIP"], pick.value.as_str());
            object.set(&["spec", "clusterIPs"], json!([pick.value]));
        }
        if self.both {
            object.set(&["spec", "ipFamilyPolicy"], "RequireDualStack");
            let first = object.at(&["spec", "ipFamilies"]).and_then(|families| families.get(0));
            let turned = first.is_some_and(|family| family == "IPv6");
            object.set(&["spec", "ipFamilies"], if turned { json!(["IPv6", "IPv4"]) } else { json!(["IPv4", "IPv6"]) });
        }
        if let Some(port) = self.health.as_ref().and_then(|pick| pick.value.parse::<i64>().ok()) {
            object.set(&["spec", "healthCheckNodePort"], port);
        }
        for (indexes, pick) in &self.ports {
            for index in indexes {
                let ports = object.map_mut(&["spec"]).get_mut("ports").and_then(Value::as_array_mut);
                let port = ports.and_then(|ports| ports.get_mut(*index)).and_then(Value::as_object_mut);
                if let (Some(port), Ok(number)) = (port, pick.value.parse::<i64>()) {
                    port.insert("nodePort".to_owned(), Value::from(number));
                }
            }
        }
    }

    /// Takes the next one instead of one that turned out to be taken.
    ///
    /// # Errors
    /// 422 when the client asked for that one; 500 when none is left.
    pub(crate) fn taken(&mut self, call: &Call<'_>, counter: &str) -> Result<(), Status> {
        self.tries += 1;
        self.seed = self.seed.wrapping_add(1);
        let full = self.tries > TRIES;
        if let Some(pick) = self.address.as_ref().filter(|pick| &*pick.counter == counter) {
            let value = pick.value.clone();
            if pick.asked {
                return Err(self.address_taken(call, &value));
            }
            if full {
                return Err(Status::internal("failed to allocate a serviceIP: range is full"));
            }
            let value = next_address(&call.state.config.service_cidr, self.seed, self.tries);
            self.address = Some(Pick { counter: address_counter(&self.tenant, &value), value, asked: false });
            return Ok(());
        }
        let seed = self.seed;
        if let Some(pick) = self.health.clone().filter(|pick| &*pick.counter == counter) {
            if pick.asked {
                // As upstream, which takes it for its own fault.
                return Err(Status::internal(format!(
                    "failed to allocate requested HealthCheck NodePort {}: provided port is already allocated",
                    pick.value
                )));
            }
            if full {
                return Err(Status::internal("failed to allocate a nodePort: range is full"));
            }
            let value = next_port(call.state.config.node_ports, seed.wrapping_add(1000), self.tries);
            self.health =
                Some(Pick { value: value.to_string(), counter: port_counter(&self.tenant, value), asked: false });
            return Ok(());
        }
        // Of two ports that have picked the same one, it is that of the one that asked for it.
        let picked =
            |asked: bool| self.ports.iter().position(|(_, pick)| &*pick.counter == counter && pick.asked == asked);
        let Some(at) = picked(false).or_else(|| picked(true)) else { return Ok(()) };
        let (indexes, pick) = self.ports[at].clone();
        let index = indexes.first().copied().unwrap_or(0);
        if pick.asked {
            let port = pick.value.parse().unwrap_or(0);
            return Err(self.port_fault(call, index, port, "provided port is already allocated"));
        }
        if full {
            return Err(Status::internal("failed to allocate a nodePort: range is full"));
        }
        let value =
            next_port(call.state.config.node_ports, seed.wrapping_add(u32::try_from(index).unwrap_or(0)), self.tries);
        self.ports[at].1 = Pick { value: value.to_string(), counter: port_counter(&self.tenant, value), asked: false };
        Ok(())
    }

    /// What the removal of an object gives back.
    pub(crate) fn released_by(call: &Call<'_>, object: &Object) -> Vec<CounterChange> {
        if object.str_at(&["kind"]) != "Service" || object.str_at(&["apiVersion"]) != "v1" {
            return Vec::new();
        }
        let tenant = call.tenant.as_ref().map_or("", |tenant| tenant.as_str());
        counters_of(tenant, object)
            .into_iter()
            .map(|counter| CounterChange { counter, delta: -1, limit: None })
            .collect()
    }

    fn address_taken(&self, call: &Call<'_>, address: &str) -> Status {
        self.address_fault(call, address, &format!("failed to allocate IP {address}: provided IP is already allocated"))
    }

    fn address_fault(&self, call: &Call<'_>, address: &str, why: &str) -> Status {
        let text = format!("Invalid value: [{address:?}]: {why}");
        self.fault(call, "spec.clusterIPs", &text)
    }

    fn port_fault(&self, call: &Call<'_>, index: usize, port: i64, why: &str) -> Status {
        self.fault(call, &format!("spec.ports[{index}].nodePort"), &format!("Invalid value: {port}: {why}"))
    }

    fn fault(&self, call: &Call<'_>, field: &str, text: &str) -> Status {
        Status::invalid(&call.kind.group, &call.kind.kind, &self.name, vec![cause("FieldValueInvalid", field, text)])
    }
}

/// Whether somebody has what a counter stands for; who takes it at the same time is found at the commit.
fn is_taken(call: &Call<'_>, counter: &str) -> bool {
    call.state.config.engine.counter(counter) > 0
}

/// The counters that a service holds.
fn counters_of(tenant: &str, service: &Object) -> Vec<Arc<str>> {
    let address = service.str_at(&["spec", "clusterIP"]);
    let mut held = Vec::new();
    if !address.is_empty() && address != "None" && service.str_at(&["spec", "type"]) != "ExternalName" {
        held.push(address_counter(tenant, address));
    }
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array).into_iter().flatten();
    let ports = ports.filter_map(|port| port.get("nodePort").and_then(Value::as_i64));
    for port in ports.chain(service.int_at(&["spec", "healthCheckNodePort"])).filter(|port| *port != 0) {
        let counter = port_counter(tenant, port);
        // Ports for several protocols may have one together.
        if !held.contains(&counter) {
            held.push(counter);
        }
    }
    held
}

/// One address family, IPv4; a headless service without a selector is ready for both, which is said once the object has
/// been checked: whether it is such a one.
fn families(service: &mut Object) -> bool {
    let address = service.str_at(&["spec", "clusterIP"]).to_owned();
    if service.str_at(&["spec", "type"]) == "ExternalName" {
        return false;
    }
    if !address.is_empty() && service.at(&["spec", "clusterIPs"]).is_none() {
        service.set(&["spec", "clusterIPs"], json!([address]));
    }
    let selects = service.at(&["spec", "selector"]).and_then(Value::as_object).is_some_and(|labels| !labels.is_empty());
    let policy = service.at(&["spec", "ipFamilyPolicy"]).and_then(Value::as_str).map(str::to_owned);
    if address == "None" && !selects && policy.as_ref().is_none_or(|policy| policy == "RequireDualStack") {
        service.remove(&["spec", "ipFamilyPolicy"]);
        return true;
    }
    if policy.is_none() {
        service.set(&["spec", "ipFamilyPolicy"], "SingleStack");
    }
    // An address of the other family is told of; it says nothing of what the service is to have.
    let addresses = service.at(&["spec", "clusterIPs"]).and_then(Value::as_array).into_iter().flatten();
    let foreign = addresses.filter_map(Value::as_str).any(|address| address.contains(':'));
    if !foreign && service.at(&["spec", "ipFamilies"]).and_then(Value::as_array).is_none_or(Vec::is_empty) {
        service.set(&["spec", "ipFamilies"], json!(["IPv4"]));
    }
    false
}

/// What an update does not say stays: the address always, node ports by the ports' names, unless another port asks for
/// them. A service that no longer needs them loses them.
fn keep(old: &Object, new: &mut Object) {
    let kind = new.str_at(&["spec", "type"]).to_owned();
    if kind == "ExternalName" {
        if old.str_at(&["spec", "type"]) != "ExternalName" {
            let given = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"];
            for field in given {
                if new.at(&["spec", field]) == old.at(&["spec", field]) {
                    new.remove(&["spec", field]);
                }
            }
        }
    } else if new.str_at(&["spec", "clusterIP"]).is_empty() {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if field.starts_with("ip") && new.at(&["spec", field]).is_some() {
                continue;
            }
            if let Some(value) = old.at(&["spec", field]).cloned() {
                new.set(&["spec", field], value);
            }
        }
    }
    let policy = ["spec", "ipFamilyPolicy"];
    if let (None, Some(known), false) = (new.at(&policy), old.at(&policy), kind == "ExternalName") {
        let known = known.clone();
        new.set(&policy, known);
    }
    let local = |service: &Object| {
        service.str_at(&["spec", "type"]) == "LoadBalancer"
            && service.str_at(&["spec", "externalTrafficPolicy"]) == "Local"
    };
    let health = ["spec", "healthCheckNodePort"];
    match (old.at(&health).cloned(), new.at(&health).cloned()) {
        (Some(was), None) if local(old) && local(new) => new.set(&health, was),
        (Some(was), Some(own)) if local(old) && !local(new) && was == own => {
            new.remove(&health);
        }
        _ => {}
    }
    keep_ports(old, new);
}

/// Whether a service has ports of the hosts.
fn may_have_ports(service: &Object) -> bool {
    matches!(service.str_at(&["spec", "type"]), "NodePort" | "LoadBalancer")
}

/// Whether a service is given ports of the hosts that it does not ask for.
fn is_given_ports(service: &Object) -> bool {
    let given = service.at(&["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool) != Some(false);
    may_have_ports(service) && (given || service.str_at(&["spec", "type"]) == "NodePort")
}

/// The port of the hosts that a port of a service has, if any.
fn node_port(port: &Value) -> Option<i64> {
    port.get("nodePort").and_then(Value::as_i64).filter(|number| *number != 0)
}

fn name_of(port: &Value) -> &str {
    port.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Node ports stay by the ports' names, of several of one name that of the last, where both services are given some.
/// One that can have none any more loses those it had, unless it asks for others, too.
fn keep_ports(old: &Object, new: &mut Object) {
    let (stay, go) = (is_given_ports(old) && is_given_ports(new), may_have_ports(old) && !may_have_ports(new));
    let before: Vec<Value> = old.at(&["spec", "ports"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(ports) = new.map_mut(&["spec"]).get_mut("ports").and_then(Value::as_array_mut) else { return };
    let asked: Vec<i64> = ports.iter().filter_map(node_port).collect();
    let had: Vec<i64> = before.iter().filter_map(node_port).collect();
    for port in ports {
        let silent = node_port(port).is_none();
        let was = before.iter().rev().find(|one| name_of(one) == name_of(port)).and_then(node_port);
        let Some(port) = port.as_object_mut() else { continue };
        if go && asked.iter().all(|number| had.contains(number)) {
            port.remove("nodePort");
        } else if let Some(was) = was.filter(|was| stay && silent && !asked.contains(was)) {
            port.insert("nodePort".to_owned(), Value::from(was));
        }
    }
}

/// An address of the range.
fn next_address(cidr: &ServiceCidr, seed: u32, tries: u32) -> String {
    let size = cidr.size();
    let low = if size > 16 { (size / 16).clamp(16, 256) } else { 0 };
    cidr.address(next_index(size, low, seed, tries)).to_string()
}

fn next_port(range: NodePorts, seed: u32, tries: u32) -> i64 {
    let size = u32::from(range.last.saturating_sub(range.first)) + 1;
    let low = if size > 16 { (size / 32).clamp(16, 128) } else { 0 };
    i64::from(range.first) + i64::from(next_index(size, low, seed, tries))
}

/// A place in a range. The lower part, from which clients pick fixed ones, is left alone until all of the upper one has
/// been tried: the seed goes up by one with each try.
fn next_index(size: u32, low: u32, seed: u32, tries: u32) -> u32 {
    let high = size.saturating_sub(low).max(1);
    if low > 0 && tries % size >= high { seed % low } else { low + seed % high }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_place_of_a_range_is_tried_and_the_lower_ones_last() {
        for (size, low) in [(1, 0), (2, 0), (16, 0), (17, 16), (254, 16), (2768, 86)] {
            for seed in [0, 1, 12_345] {
                let tried: Vec<u32> = (0..size).map(|tries| next_index(size, low, seed + tries, tries)).collect();
                assert_eq!(tried.iter().copied().collect::<BTreeSet<_>>(), (0..size).collect(), "{size} from {seed}");
                let upper = tried.iter().take_while(|index| **index >= low).count();
                assert_eq!(upper as u32, size - low, "{size} from {seed}");
            }
        }
    }
}
