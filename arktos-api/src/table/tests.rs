//! Tables of stored objects.

use arktos_core::catalog::{Catalog, Column};
use arktos_core::custom::JsonPath;
use arktos_core::{Object, ObjectPath};

use super::*;

const NOON: &str = "2026-07-01T12:00:00Z";

fn table(resource: &str, include: Include, object: Value) -> Value {
    let resource = arktos_core::GroupResource::from(resource.to_owned());
    table_of(&Catalog::builtin().storage(&resource).expect("a built-in kind"), include, object)
}

fn table_of(kind: &Arc<Kind>, include: Include, object: Value) -> Value {
    let now = Timestamp::parse(NOON).expect("a moment");
    let table = Table::new(kind, MetaVersion::V1, include, Dialect::Plain, now);
    let object = Object::from_value(object).expect("an object");
    let path = ObjectPath::new("acme", object.namespace(), object.name());
    let stored = Stored { path, revision: Revision(7), object: kind.encode(&object).expect("encodes") };
    let mut out = Vec::new();
    let whole = |stored: &Stored, out: &mut Vec<u8>| {
        stored.object.write(out, Some(&kind.type_meta), "acme", stored.revision, Dialect::Plain);
    };
    table.write(&mut out, [&stored], &ListMeta { revision: Revision(9), ..ListMeta::default() }, &whole);
    serde_json::from_slice(&out).expect("a table is JSON")
}

fn cells(resource: &str, object: Value) -> Value {
    table(resource, Include::None, object)["rows"][0]["cells"].clone()
}

#[test]
fn every_printer_fills_every_column() {
    for kind in Catalog::builtin().kinds().filter(|kind| kind.storage && kind.can("list")) {
        let resource = kind.storage_resource.as_str();
        let shown = table(resource, Include::None, json!({"metadata": {"name": "x"}}));
        let columns = shown["columnDefinitions"].as_array().expect("columns");
        let cells = shown["rows"][0]["cells"].as_array().expect("cells");
        let silent = usize::from(resource == "ipaddresses.networking.k8s.io"); // its age has no column
        assert_eq!(cells.len(), columns.len() + silent, "{resource}: {cells:?}");
        let name_column = columns.iter().position(|column| column["format"] == "name").expect("a name");
        assert_eq!(cells[name_column], "x", "{resource}");
        let has_own_columns = columns.iter().all(|column| column["name"] != "Created At");
        assert_eq!(printer(resource).is_some(), has_own_columns, "{resource} prints what its columns promise");
    }
}

#[test]
fn objects_of_all_tenants_have_their_tenant_in_the_first_column() {
    let secrets = arktos_core::GroupResource::core("secrets");
    let kind = Catalog::builtin().storage(&secrets).expect("a built-in kind");
    let now = Timestamp::parse(NOON).expect("a moment");
    let table = Table::new(&kind, MetaVersion::V1, Include::None, Dialect::Plain, now).of_all_tenants();
    let object = Object::from_value(json!({"metadata": {"name": "key", "namespace": "web"}})).expect("an object");
    let path = ObjectPath::new("acme", "web", "key");
    let stored = Stored { path, revision: Revision(7), object: kind.encode(&object).expect("encodes") };
    let (mut out, mut bookmark) = (Vec::new(), Vec::new());
    table.write(&mut out, [&stored], &ListMeta::default(), &|_, _| {});
    table.write_bookmark(&mut bookmark, true, (Revision(7), &json!({})), &kind.type_meta);
    for (written, tenant) in [(out, "acme"), (bookmark, "")] {
        let shown: Value = serde_json::from_slice(&written).expect("a table is JSON");
        assert_eq!(shown["columnDefinitions"][0]["name"], "Tenant");
        let (columns, cells) = (&shown["columnDefinitions"], &shown["rows"][0]["cells"]);
        assert_eq!(columns.as_array().map(Vec::len), cells.as_array().map(Vec::len));
        assert_eq!(cells[0], tenant);
    }
}

#[test]
fn a_pod_shows_its_state_and_its_restarts() {
    let pod = |status: Value| {
        json!({
            "metadata": {"name": "web", "namespace": "default", "creationTimestamp": "2026-07-01T11:57:55Z"},
            "spec": {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
            "status": status,
        })
    };
    let running = json!({"phase": "Running", "podIPs": [{"ip": "10.1.2.3"}], "containerStatuses": [
        {"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}},
         "lastState": {"terminated": {"finishedAt": "2026-07-01T11:00:00Z"}}},
        {"name": "b", "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}},
    ]});
    assert_eq!(
        cells("pods", pod(running)),
        json!(["web", "1/2", "ImagePullBackOff", "2 (60m ago)", "2m5s", "10.1.2.3", "n1", "<none>", "<none>"])
    );
    let starting = json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]});
    assert_eq!(cells("pods", pod(starting))[2], "Init:0/1");
    let failed = json!({"phase": "Failed", "containerStatuses": [
        {"name": "a", "state": {"terminated": {"exitCode": 3}}},
    ]});
    let shown = table("pods", Include::None, pod(failed));
    assert_eq!(shown["rows"][0]["cells"][2], "ExitCode:3");
    assert_eq!(shown["rows"][0]["conditions"][0]["reason"], "Failed");
}

#[test]
fn a_service_shows_its_addresses_and_ports() {
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.7"], "selector": {"b": "2", "a": "1"},
                 "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]},
    });
    assert_eq!(
        cells("services", service),
        json!(["web", "LoadBalancer", "10.0.0.7", "<pending>", "80:30080/TCP,53/UDP", "<unknown>", "a=1,b=2"])
    );
}

#[test]
fn an_ingress_counts_the_hosts_it_does_not_show() {
    let hosts = |hosts: &[&str]| {
        let rules: Vec<Value> = hosts.iter().map(|host| json!({"host": host})).collect();
        cells("ingresses.networking.k8s.io", json!({"metadata": {"name": "x"}, "spec": {"rules": rules}}))[2].clone()
    };
    assert_eq!(hosts(&[]), "*");
    assert_eq!(hosts(&["a", "b", "c"]), "a,b,c");
    assert_eq!(hosts(&["a", "b", "c", "d", "e"]), "a,b,c + 2 more...");
}

#[test]
fn an_autoscaler_shows_what_it_measures() {
    let metrics = json!([
        {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 60}}},
        {"type": "Pods", "pods": {"target": {"averageValue": "100m"}}},
        {"type": "External", "external": {"target": {"value": "5"}}},
    ]);
    let current = json!([{"type": "Resource", "resource": {"current": {"averageUtilization": 40}}}]);
    let object =
        json!({"metadata": {"name": "x"}, "spec": {"metrics": metrics}, "status": {"currentMetrics": current}});
    assert_eq!(cells("horizontalpodautoscalers.autoscaling", object)[2], "cpu: 40%/60%, <unknown>/100m + 1 more...");
}

#[test]
fn rows_carry_what_was_asked_for() {
    let object = || json!({"metadata": {"name": "x", "namespace": "ns", "labels": {"a": "}"}}, "data": {"k": "v"}});
    assert_eq!(table("configmaps", Include::None, object())["rows"][0]["object"], Value::Null);
    let partial = table("configmaps", Include::Metadata, object())["rows"][0]["object"].clone();
    assert_eq!(partial["kind"], "PartialObjectMetadata");
    assert_eq!(partial["apiVersion"], "meta.k8s.io/v1");
    assert_eq!(partial["metadata"]["resourceVersion"], "7");
    assert_eq!(partial["metadata"]["labels"]["a"], "}");
    assert_eq!(partial.get("data"), None);
    let whole = table("configmaps", Include::Object, object());
    assert_eq!(whole["rows"][0]["object"]["data"]["k"], "v");
    assert_eq!(whole["metadata"], json!({"resourceVersion": "9"}));
    assert_eq!(Include::parse(Some("Odd")).expect_err("refused").code, 400);
}

#[test]
fn a_member_of_the_region_shows_when_it_was_heard_of() {
    let member = |servers: Value| {
        let metadata = json!({"name": "tp-1", "creationTimestamp": "2026-07-01T11:00:00Z"});
        json!({"metadata": metadata, "spec": {"phase": "Active"}, "status": {"servers": servers}})
    };
    let server =
        |time: &str| json!({"url": format!("https://{time}"), "heartbeatTime": format!("2026-07-01T{time}.000000Z")});
    let two = json!([server("11:10:00"), server("11:59:52")]);
    assert_eq!(cells("tenantpartitions.region.arktos.io", member(two)), json!(["tp-1", "Active", 2, "8s", "60m"]));
    let none = cells("resourcemanagers.region.arktos.io", member(json!([])));
    assert_eq!(none, json!(["tp-1", "Active", 0, "<unknown>", "60m"]));
}

#[test]
fn a_quota_of_a_tenant_shows_what_is_used_of_it() {
    let status = json!({"hard": {"rate/requests": "20", "pods": "3"}, "used": {"pods": "2"}});
    let quota = json!({"metadata": {"name": "acme", "creationTimestamp": NOON}, "status": status});
    let shown = cells("tenantquotas.region.arktos.io", quota);
    assert_eq!(shown, json!(["acme", "pods: 2/3, rate/requests: 20", "0s"]));
}

#[test]
fn only_the_first_event_of_a_watch_has_the_columns_but_of_versions_of_groups_all_have() {
    for (resource, has_columns) in [("configmaps", false), ("apiservices.apiregistration.k8s.io", true)] {
        let resource = arktos_core::GroupResource::from(resource.to_owned());
        let kind = Catalog::builtin().storage(&resource).expect("a built-in kind");
        let now = Timestamp::parse(NOON).expect("a moment");
        let mut out = Vec::new();
        Table::new(&kind, MetaVersion::V1, Include::None, Dialect::Plain, now).open(&mut out, false);
        let text = String::from_utf8(out).expect("a text");
        assert_eq!(!text.contains("\"columnDefinitions\":null"), has_columns, "{text}");
    }
}

#[test]
fn a_kind_without_columns_of_its_own_shows_when_it_was_made() {
    let shown = table(
        "roles.rbac.authorization.k8s.io",
        Include::None,
        json!({
            "metadata": {"name": "x", "creationTimestamp": NOON},
        }),
    );
    assert_eq!(shown["rows"][0]["cells"], json!(["x", NOON]));
}

#[test]
fn the_columns_of_a_definition_take_so_much_of_an_object_and_no_more() {
    let shown = |path: &str, object: Value| {
        let kind = Kind::custom("example.org", "v1", "Thing", "things", arktos_core::Scope::Tenant);
        let column = |path: &str| Column {
            name: "C".to_owned(),
            type_name: "string".to_owned(),
            format: String::new(),
            priority: 0,
            about: String::new(),
            path: JsonPath::parse(path).expect(path),
        };
        let columns = [".metadata.name", path, path, path, ".metadata.name"].map(column).to_vec();
        let kind = Arc::new(Kind { columns, ..kind });
        table_of(&kind, Include::None, object)["rows"][0]["cells"].clone()
    };
    let with =
        |spec: Value| json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec});
    assert_eq!(shown(".spec.a", with(json!({"a": "b"}))), json!(["x", "b", "b", "b", "x"]));
    // Each of the columns would show all of it.
    let long = "a".repeat(300_000);
    assert_eq!(shown(".spec", with(json!(long))), json!(["x", long, long, null, null]));
    // And each would look for what is not there in all of it.
    let wide: Vec<Value> = (0..200_000).map(|n| json!(n)).collect();
    assert_eq!(shown("..none", with(json!(wide))), json!(["x", null, null, null, null]));
}
