//! Partitions and resource managers that join, and tenants that are placed among them.

use serde_json::{Value, json};

use super::process::http::{Caller, names};
use super::process::roles::caller;
use super::{PARTITIONS, PLACEMENTS, Region, deploys_everywhere, eventually, hosts, tenant};

#[test]
fn partitions_and_resource_managers_join_while_everybody_works() {
    let mut region = Region::start();
    let root = region.root();
    root.until(&format!("{PLACEMENTS}/system"), |code, _| code == 200);
    let (code, made) = root.post("/api/v1/tenants", &tenant("acme", &json!({})));
    assert_eq!(code, 201, "{made}");
    assert_eq!(region.placed("acme"), "tp-1");
    let acme = caller(&region.gateway, "acme-token");
    acme.until("/api/v1/namespaces/default/serviceaccounts/default", |code, _| code == 200);
    root.until("/api/v1/nodes", |_, nodes| nodes["items"].as_array().is_some_and(|nodes| nodes.len() == 2));
    let pods = root.watch("/api/v1/tenants/all/pods?watch=1");
    let nodes = root.watch("/api/v1/nodes?watch=1");

    region.grow();
    root.until(PARTITIONS, |_, list| names(list).len() == 2);
    eventually("the new hosts, in a watch that was open before", || nodes.names(|_| true).len() == 4);
    root.until(PARTITIONS, |_, list| list["items"].as_array().is_some_and(|all| all.len() == 2));
    eventually("a tenant in the new partition", || {
        let (code, made) = root.post("/api/v1/tenants", &tenant("globex", &json!({})));
        assert!([201, 409].contains(&code), "{made}");
        region.placed("globex") == "tp-2"
    });
    let globex = caller(&region.gateway, "globex-token");
    deploys_everywhere(&globex);
    deploys_everywhere(&acme);
    let of = |tenant: &'static str| move |pod: &Value| pod["metadata"]["tenant"] == tenant;
    eventually("all pods of both, in a watch that was open before", || {
        pods.names(of("acme")).len() >= 8 && pods.names(of("globex")).len() >= 8
    });
    assert!(region.runs(), "nothing was started anew");

    // A gateway that comes later sees the same.
    let late = region.place.gateway(&["--aggregator", &region.aggregator]);
    let pods = caller(&late, "root-token").until("/api/v1/tenants/all/pods", |_, pods| hosts(pods).len() == 16);
    assert_eq!(names(&pods).iter().filter(|name| name.starts_with("globex/")).count(), 8);
    caller(&late, "globex-token").until("/api/v1/pods", |_, pods| hosts(pods).len() == 8);

    // Nobody is sent to somebody else's partition.
    for gateway in [&region.gateway, &late] {
        assert_eq!(caller(gateway, "root-token").get("/api/v1/tenants/nobody/pods").0, 404);
        assert_eq!(caller(gateway, "acme-token").get("/api/v1/tenants/nobody/pods").0, 403);
        assert_eq!(caller(gateway, "acme-token").get("/api/v1/tenants/globex/pods").0, 403);
        assert_eq!(caller(gateway, "acme-token").get(PLACEMENTS).0, 403);
        assert_eq!(caller(gateway, "acme-token").post("/api/v1/tenants", &tenant("mine", &json!({}))).0, 403);
    }

    // Without the directory, all goes on but the making of tenants.
    let address = region.directory.address.expect("it serves").to_string();
    region.directory.kill();
    for gateway in [&region.gateway, &late] {
        for token in ["acme-token", "globex-token"] {
            let tenant = caller(gateway, token);
            let name = format!("during-{}", gateway.id());
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            assert_eq!(tenant.post("/api/v1/namespaces/default/configmaps", &map).0, 201);
            assert_eq!(hosts(&tenant.get("/api/v1/pods").1).len(), 8);
        }
        let root = caller(gateway, "root-token");
        let (code, refused) = root.post("/api/v1/tenants", &tenant("late", &json!({})));
        assert_eq!(code, 503, "{refused}");
        assert_eq!(root.get("/api/v1/tenants/late/pods").0, 503, "nobody knows");
    }
    region.directory = region.place.keeper("directory", "directory", &["--listen", &address]);
    eventually("a tenant that is made again", || {
        [201, 409].contains(&caller(&late, "root-token").post("/api/v1/tenants", &tenant("late", &json!({}))).0)
    });
}

#[test]
fn gateways_that_race_agree_on_a_tenants_place_and_tenants_may_ask_for_one() {
    let mut region = Region::start();
    region.grow();
    let other = region.place.gateway(&["--aggregator", &region.aggregator]);
    for gateway in [&region.gateway, &other] {
        let root = caller(gateway, "root-token");
        root.until(PARTITIONS, |_, list| list["items"].as_array().is_some_and(|all| all.len() == 2));
    }
    for round in 0..10 {
        let name = format!("t-{round}");
        let made = std::thread::scope(|scope| {
            let callers = [&region.gateway, &other, &region.gateway, &other].map(|it| caller(it, "root-token"));
            let body = tenant(&name, &json!({}));
            let post = |caller: Caller<'static>| {
                let body = body.clone();
                scope.spawn(move || caller.post("/api/v1/tenants", &body).0)
            };
            let all: Vec<_> = callers.into_iter().map(post).collect();
            all.into_iter().map(|it| it.join().expect("it ends")).collect::<Vec<_>>()
        });
        assert_eq!(made.iter().filter(|code| **code == 201).count(), 1, "{made:?}");
        assert!(made.iter().all(|code| [201, 409].contains(code)), "{made:?}");
    }
    let root = region.root();
    let all = root.until("/api/v1/tenants/all/namespaces?fieldSelector=metadata.name%3Ddefault", |code, list| {
        code == 200 && names(list).iter().filter(|name| name.starts_with("t-")).count() == 10
    });
    assert_eq!(names(&all).len(), 11, "each is in one partition: {all}");
    let of = |partition: &str| (0..10).filter(|round| region.placed(&format!("t-{round}")) == partition).count();
    assert!(of("tp-1") >= 3 && of("tp-2") >= 3, "{} and {}", of("tp-1"), of("tp-2"));

    let draining = json!({"spec": {"phase": "Draining"}, "metadata": {"labels": {"zone": "eu"}}});
    assert_eq!(root.patch(&format!("{PARTITIONS}/tp-1"), &draining).0, 200);
    let pinned = |partition: &str| json!({"arktos.io/partition": partition});
    eventually("a partition that takes no new tenants", || {
        root.post("/api/v1/tenants?dryRun=All", &tenant("pinned", &pinned("tp-1"))).0 == 403
    });
    assert_eq!(root.post("/api/v1/tenants", &tenant("pinned", &pinned("tp-2"))).0, 201);
    assert_eq!(region.placed("pinned"), "tp-2");
    assert_eq!(root.patch(&format!("{PARTITIONS}/tp-1"), &json!({"spec": {"phase": "Active"}})).0, 200);
    let selected = json!({"arktos.io/partition-selector": "zone in (eu)"});
    eventually("a tenant where it asked to be", || {
        root.post("/api/v1/tenants", &tenant("selected", &selected)).0 == 201
    });
    assert_eq!(region.placed("selected"), "tp-1");
    // What could not be made takes no place.
    assert_eq!(root.post("/api/v1/tenants", &tenant("Not_A_Name", &json!({}))).0, 422);
    assert_eq!(root.get(&format!("{PLACEMENTS}/Not_A_Name")).0, 404);
}
