//! A partition and a resource manager that leave for good, by the operator's word.

use serde_json::{Value, json};

use super::process::http::{Caller, names};
use super::process::roles::caller;
use super::{PARTITIONS, PLACEMENTS, Region, deploys_everywhere, eventually, hosts, scales, tenant};

const CLAIMS: &str = "/apis/region.arktos.io/v1/claims";
const MANAGERS: &str = "/apis/region.arktos.io/v1/resourcemanagers";

/// What every claim is of, at all resource managers.
fn owners(managers: &[Caller<'_>]) -> Vec<String> {
    let of = |manager: &Caller<'_>| {
        let (code, claims) = manager.get(CLAIMS);
        assert_eq!(code, 200, "{claims}");
        let items = claims["items"].as_array().expect("a list").clone();
        items.into_iter().map(|claim| claim["spec"]["partition"].as_str().expect("a partition").to_owned())
    };
    managers.iter().flat_map(of).collect()
}

fn remove(root: &Caller<'_>, member: &str) {
    let (code, removed) = root.patch(member, &json!({"spec": {"phase": "Removed"}}));
    assert_eq!(code, 200, "{removed}");
    assert_ne!(root.patch(member, &json!({"spec": {"phase": "Active"}})).0, 200, "that cannot be taken back");
}

#[test]
fn a_partition_and_a_resource_manager_that_are_removed_are_gone_for_everybody() {
    let mut region = Region::start();
    region.grow();
    let root = region.root();
    root.until(&format!("{PLACEMENTS}/system"), |code, _| code == 200);
    for (name, partition) in [("acme", "tp-1"), ("globex", "tp-2")] {
        let wanted = json!({"arktos.io/partition": partition});
        eventually("a tenant", || [201, 409].contains(&root.post("/api/v1/tenants", &tenant(name, &wanted)).0));
    }
    let (acme, globex) = (caller(&region.gateway, "acme-token"), caller(&region.gateway, "globex-token"));
    deploys_everywhere(&acme);
    deploys_everywhere(&globex);
    let managers = ["rm-1", "rm-2"].map(|name| region.at_manager(name));
    assert_eq!(owners(&managers).iter().filter(|owner| *owner == "tp-2").count(), 8);
    let pods = "/api/v1/tenants/all/pods";
    let all = root.until(pods, |code, list| code == 200 && hosts(list).len() == 16);
    let revision = all["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned();
    let watch = root.watch(&format!("{pods}?watch=1&resourceVersion={revision}"));

    // The partition's only process dies. That alone means nothing: what it has claimed stays.
    let dead = region.others.iter().position(|(name, _)| *name == "tp-2").expect("it was started");
    region.others.remove(dead).1.kill();
    assert_eq!(root.get("/api/v1/tenants/globex/pods").0, 503);
    assert_eq!(owners(&managers).iter().filter(|owner| *owner == "tp-2").count(), 8);
    assert_eq!(hosts(&root.get(pods).1).len(), 16, "unreachable is not gone");

    remove(&root, &format!("{PARTITIONS}/tp-2"));
    eventually("the end of its claims", || owners(&managers).iter().all(|owner| owner == "tp-1"));
    root.until(pods, |_, list| names(list).iter().all(|name| name.starts_with("acme/")) && hosts(list).len() == 8);
    let gone = || {
        let events = watch.events();
        let of = |event: &&Value| event["object"]["metadata"]["tenant"] == "globex" && event["type"] == "DELETED";
        events.iter().filter(of).count() == 8
    };
    eventually("its pods leave the watch that was open before", gone);
    let shown = || managers.iter().map(|manager| names(&manager.get("/api/v1/pods").1).len()).sum::<usize>();
    eventually("hosts that are shown acme's pods alone", || shown() == 8);
    // Its places are anybody's: together the hosts have room for 64.
    scales(&acme, 60);

    // Its tenant is an error, and nobody else's partition; so are tenants that were never there.
    assert_eq!(globex.get("/api/v1/pods").0, 503);
    assert_eq!(root.get("/api/v1/tenants/globex/pods").0, 503);
    assert_eq!(root.get("/api/v1/tenants/nobody/pods").0, 404);
    let pinned = json!({"arktos.io/partition": "tp-2"});
    assert_eq!(root.post("/api/v1/tenants", &tenant("late", &pinned)).0, 403);
    for number in 0..4 {
        let name = format!("new-{number}");
        assert_eq!(root.post("/api/v1/tenants", &tenant(&name, &json!({}))).0, 201);
        assert_eq!(region.placed(&name), "tp-1");
    }
    // A process of it that is started by mistake claims nothing and serves nobody.
    let mistaken = region.place.member("partition", "tp-2", &[]);
    eventually("what it is told", || mistaken.said.lock().contains("was removed from the region: stop it"));
    assert_eq!(globex.get("/api/v1/pods").0, 503);
    assert!(owners(&managers).iter().all(|owner| owner == "tp-1"));
    mistaken.kill();
    // Once its placement is deleted, the tenant's name can be used again.
    assert_eq!(root.delete(&format!("{PLACEMENTS}/globex")).0, 200);
    eventually("the tenant anew", || root.post("/api/v1/tenants", &tenant("globex", &json!({}))).0 == 201);
    assert_eq!(region.placed("globex"), "tp-1");
    globex.until("/api/v1/pods", |code, pods| code == 200 && names(pods).is_empty());

    // The resource manager, which still runs.
    let nodes = root.watch("/api/v1/nodes?watch=1");
    eventually("all nodes", || nodes.names(|_| true).len() == 4);
    let few = scales(&acme, 0);
    assert!(hosts(&few).is_empty());
    eventually("no claim at all", || owners(&managers).is_empty());
    remove(&root, &format!("{MANAGERS}/rm-2"));
    root.until("/api/v1/nodes", |_, list| names(list).len() == 2);
    let deleted = || nodes.events().iter().filter(|event| event["type"] == "DELETED").count() == 2;
    eventually("its hosts leave the watch that was open before", deleted);
    // The scheduler follows by itself, a moment sooner or later.
    eventually("pods on the hosts that are left, and no others", || {
        let left = hosts(&scales(&acme, 8)).iter().all(|host| host.starts_with("host-1"));
        if !left {
            scales(&acme, 0);
        }
        left
    });
    assert!(region.runs(), "nothing was started anew");
}

/// Whoever follows another role has connections to it; they end in order.
#[test]
fn roles_with_peers_stop_without_a_word_of_complaint() {
    let mut region = Region::start();
    region.grow();
    let root = region.root();
    let (code, made) = root.post("/api/v1/tenants", &tenant("acme", &json!({})));
    assert_eq!(code, 201, "{made}");
    let acme = caller(&region.gateway, "acme-token");
    acme.until("/api/v1/namespaces/default/serviceaccounts/default", |code, _| code == 200);
    deploys_everywhere(&acme);
    for (name, process) in region.others {
        let said = process.stop();
        assert!(!said.contains("panicked"), "{name}: {said}");
    }
}
