//! What is asked of a running container, or of a host: logs, commands, ports. Nothing runs here, so nobody is reached;
//! what upstream refuses before it reaches for anybody is refused here in its words.

use std::net::IpAddr;

use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Reason, Status, Timestamp, TypeMeta};
use http::{HeaderMap, Response};
use serde_json::Value;

use crate::admission::{self, topology};
use crate::body::Body;
use crate::call::Call;
use crate::negotiate::{self, Endpoint, Form, JSON, PROTOBUF, YAML};
use crate::query::{QueryMap, cause};
use crate::reply;

/// Refuses to reach what a subresource is about. Of a pod that no host has there is an empty log.
///
/// # Errors
/// 400, 404 and 422 for what makes no sense; 501 for all else.
pub(crate) async fn connect(
    call: &mut Call<'_>,
    subresource: &str,
    (query, headers): (&QueryMap, &HeaderMap),
) -> Result<Response<Body>, Status> {
    let mut asked = String::new();
    match subresource {
        "log" => {
            negotiate::produces(headers, &["text/plain", JSON, YAML, PROTOBUF])?;
            log_options(call, query)?;
        }
        "portforward" => {
            ports(query)?;
            asks(call, subresource, query).await?;
        }
        "attach" | "exec" => asks(call, subresource, query).await?,
        "proxy" => {
            asks(call, subresource, query).await?;
            asked = call.name.to_string();
            let name = proxied(&call.name).map(str::to_owned);
            let word = call.kind.kind.to_lowercase();
            let name = name.ok_or_else(|| Status::bad_request(format!("invalid {word} request {:?}", call.name)))?;
            call.name = name.into();
        }
        _ => {}
    }
    let stored = call.found().await?;
    if call.kind.storage_resource.as_str() == "services" {
        has_endpoints(call, &stored.object.decode(None).map_err(Status::internal)?, &asked)?;
    }
    if call.kind.storage_resource.as_str() == "pods" {
        let pod = stored.object.decode(None).map_err(Status::internal)?;
        if subresource == "proxy" {
            has_address(&pod)?;
        } else {
            if subresource != "portforward" {
                one_container(&pod, query.get("container"))?;
            }
            let host = pod.str_at(&["spec", "nodeName"]);
            match (host, subresource) {
                ("", "log") => {
                    let endpoint = Endpoint { forms: true, protobuf: true, ..Endpoint::default() };
                    let form = negotiate::negotiated(headers, endpoint)?.form;
                    form.fits(false, || "*rest.LocationStreamer".to_owned())?;
                    if form != Form::Object {
                        // What is written piece by piece has no metadata.
                        return Err(Status::unexplained("object does not implement the Object interfaces"));
                    }
                    return Ok(reply::nothing());
                }
                ("", _) => {
                    return Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.name())));
                }
                _ => has_host(call, host)?,
            }
        }
    }
    if call.kind.storage_resource.as_str() == "nodes" {
        is_addressed(&stored.object.decode(None).map_err(Status::internal)?)?;
    }
    let text = format!(
        "{subresource} is not available: hosts are not reached from here, and simulated ones run no containers"
    );
    Err(Status::failure(Reason::NotImplemented, text))
}

/// Asks the tenant's webhooks and policies whether this may be reached.
async fn asks(call: &Call<'_>, subresource: &str, query: &QueryMap) -> Result<(), Status> {
    let kind = match (subresource, call.kind.storage_resource.as_str()) {
        ("attach", _) => "PodAttachOptions",
        ("exec", _) => "PodExecOptions",
        ("portforward", _) => "PodPortForwardOptions",
        (_, "services") => "ServiceProxyOptions",
        (_, "nodes") => "NodeProxyOptions",
        _ => "PodProxyOptions",
    };
    let mut options = Object::new(&TypeMeta::new("", "v1", kind), "");
    options.fields.remove("metadata");
    let mut put = |field: &str, value: Value| drop(options.fields.insert(field.to_owned(), value));
    if matches!(subresource, "attach" | "exec") {
        for stream in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|stream| query.flag(stream)) {
            put(stream, Value::Bool(true));
        }
        if let Some(container) = query.find("container").filter(|container| !container.is_empty()) {
            put("container", Value::from(container));
        }
    }
    if subresource == "exec" {
        put("command", query.all("command").collect());
    }
    if subresource == "portforward" {
        put("ports", query.all("ports").filter_map(|port| port.parse::<u32>().ok()).collect());
    }
    admission::connect(call, subresource, (kind, options)).await
}

/// The name in `name`, `name:port` or `scheme:name:port`.
fn proxied(asked: &str) -> Option<&str> {
    let name = match asked.split(':').collect::<Vec<_>>()[..] {
        [name] | [name, _] | ["" | "http" | "https", name, _] => name,
        _ => return None,
    };
    Some(name).filter(|name| !name.is_empty())
}

/// A service is reached through what stands behind one of its ports. `asked` is how the path names both.
fn has_endpoints(call: &Call<'_>, service: &Object, asked: &str) -> Result<(), Status> {
    let unavailable = |text: String| Err(Status::failure(Reason::ServiceUnavailable, text));
    let list = |of: &Value, field: &str| of[field].as_array().cloned().unwrap_or_default();
    let mut port = match asked.split(':').collect::<Vec<_>>()[..] {
        [_, port] | [_, _, port] => port.to_owned(),
        _ => String::new(),
    };
    let name = service.name();
    if let Ok(number) = port.parse::<i64>() {
        let ports = service.at(&["spec"]).map(|spec| list(spec, "ports")).unwrap_or_default();
        match ports.iter().find(|port| port["port"] == number) {
            Some(found) => found["name"].as_str().unwrap_or_default().clone_into(&mut port),
            None => return unavailable(format!("no service port {number} found for service {name:?}")),
        }
    }
    let path = ObjectPath::new(call.one_tenant()?.as_str(), &call.namespace, name);
    let endpoints = call.engine().snapshot().get(&ObjectKey { resource: GroupResource::core("endpoints"), path });
    // Upstream keeps both as parts of one thing, and says of either that the service is not there.
    let Some(endpoints) = endpoints else { return Err(call.not_found(name)) };
    let endpoints = endpoints.object.decode(None).map_err(Status::internal)?;
    let subsets = list(&Value::Object(endpoints.fields), "subsets");
    if subsets.is_empty() {
        return unavailable(format!("no endpoints available for service {name:?}"));
    }
    let has = |subset: &Value| {
        let named = |one: &Value| one["name"].as_str().unwrap_or_default() == port;
        !list(subset, "addresses").is_empty() && list(subset, "ports").iter().any(named)
    };
    if subsets.iter().any(has) {
        return Ok(());
    }
    unavailable(format!("no endpoints available for service {asked:?}"))
}

/// Pods are reached under their own address alone.
fn has_address(pod: &Object) -> Result<(), Status> {
    let address: Option<IpAddr> = pod.str_at(&["status", "podIP"]).parse().ok();
    match address {
        Some(address) if !address.is_loopback() && !address.is_unspecified() => Ok(()),
        _ => Err(Status::bad_request("address not allowed")),
    }
}

/// A host that is known here must be there. Upstream says of one that is not that it is no pod.
fn has_host(call: &Call<'_>, name: &str) -> Result<(), Status> {
    let Some(host) = topology::known_host(call, name) else {
        let elsewhere = call.state.config.resource_manager.is_some();
        return if elsewhere { Ok(()) } else { Err(Status::not_found(&GroupResource::core("pods"), name)) };
    };
    is_addressed(&host.object.decode(None).map_err(Status::internal)?)
}

fn is_addressed(host: &Object) -> Result<(), Status> {
    let addresses = host.at(&["status", "addresses"]).and_then(Value::as_array);
    if addresses.is_none_or(Vec::is_empty) {
        return Err(Status::unexplained("no preferred addresses found; known addresses: []"));
    }
    Ok(())
}

/// Refuses a container that the pod does not have, and an open choice.
fn one_container(pod: &Object, wanted: &str) -> Result<(), Status> {
    let named = |list: &str| {
        let containers = pod.at(&["spec", list]).and_then(Value::as_array);
        containers.into_iter().flatten().filter_map(|container| container["name"].as_str()).collect::<Vec<_>>()
    };
    let all = ["initContainers", "containers", "ephemeralContainers"].map(named).concat();
    let text = match (wanted, named("containers").len()) {
        ("", 1) => return Ok(()),
        ("", 0) => format!("a container name must be specified for pod {}", pod.name()),
        ("", _) => {
            let choice = all.join(" ");
            format!("a container name must be specified for pod {}, choose one of: [{choice}]", pod.name())
        }
        _ if all.contains(&wanted) => return Ok(()),
        _ => format!("container {wanted} is not valid for pod {}", pod.name()),
    };
    Err(Status::bad_request(text))
}

fn ports(query: &QueryMap) -> Result<(), Status> {
    match query.all("ports").find(|port| port.parse::<u32>().is_err()) {
        Some(port) => {
            let text = format!("cannot convert to []int32: strconv.ParseUint: parsing {port:?}: invalid syntax");
            Err(Status::bad_request(text))
        }
        None => Ok(()),
    }
}

/// What may be asked of a log.
fn log_options(call: &Call<'_>, query: &QueryMap) -> Result<(), Status> {
    let mut causes = Vec::new();
    let mut at_least = |field: &str, least: i64, why: &str| -> Result<(), Status> {
        if let Some(value) = query.int(field)?
            && value < least
        {
            causes.push(cause("FieldValueInvalid", field, &format!("Invalid value: {value}: {why}")));
        }
        Ok(())
    };
    at_least("tailLines", 0, "must be greater than or equal to 0")?;
    at_least("limitBytes", 1, "must be greater than 0")?;
    let (since, moment) = (query.int("sinceSeconds")?, query.get("sinceTime"));
    if !moment.is_empty() && Timestamp::parse(moment).is_none() {
        let text =
            format!("parsing time {moment:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {moment:?} as \"2006\"");
        return Err(Status::bad_request(text));
    }
    match since {
        Some(_) if !moment.is_empty() => {
            let why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
            causes.push(cause("FieldValueForbidden", "[]", why));
        }
        _ => at_least("sinceSeconds", 1, "must be greater than 0")?,
    }
    if query.find("stream").is_some() {
        causes.push(cause("FieldValueForbidden", "stream", "Forbidden: may not be specified"));
    }
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", &call.name, causes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxied_name_may_have_a_scheme_and_a_port() {
        for (asked, name) in [
            ("s", Some("s")),
            ("s:80", Some("s")),
            ("https:s:", Some("s")),
            ("x:s:w", None),
            ("a:b:c:d", None),
            (":80", None),
        ] {
            assert_eq!(proxied(asked), name, "{asked}");
        }
    }
}
