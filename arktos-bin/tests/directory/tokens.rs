//! Tokens of service accounts in a region of several partitions: one of these can check each, and they count in all.

use serde_json::{Value, json};

use super::process::http::Caller;
use super::process::roles::caller;
use super::{PARTITIONS, PLACEMENTS, Region, eventually, tenant};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

/// A token of an account of somebody's tenant.
fn token(of: &Caller<'_>, account: &str) -> String {
    of.until(&format!("{ACCOUNTS}/{account}"), |code, _| code == 200);
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let (code, given) = of.post(&format!("{ACCOUNTS}/{account}/token"), &request);
    assert_eq!(code, 201, "{given}");
    given["status"]["token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_token_counts_through_gateways_in_all_partitions_for_as_long_as_its_account_is_there() {
    let mut region = Region::start();
    region.grow();
    let root = region.root();
    root.until(PARTITIONS, |_, list| list["items"].as_array().is_some_and(|all| all.len() == 2));
    for (name, partition) in [("acme", "tp-1"), ("globex", "tp-2")] {
        let wanted = tenant(name, &json!({"arktos.io/partition": partition}));
        eventually("a tenant where it is to be", || [201, 409].contains(&root.post("/api/v1/tenants", &wanted).0));
        assert_eq!(region.placed(name), partition);
    }
    let (acme, globex) = (caller(&region.gateway, "acme-token"), caller(&region.gateway, "globex-token"));
    let robot = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    eventually("an account", || [201, 409].contains(&acme.post(ACCOUNTS, &robot).0));
    let given = token(&acme, "robot");
    let robot = Caller { token: &given, ..acme };

    let theirs = |name: &str| format!("/api/v1/tenants/{name}/namespaces/default/pods");
    let words = |(code, answer): (u16, Value), name: &str| (code, answer["message"].to_string().replace(name, "…"));
    let refused = words(robot.get(&theirs("globex")), "globex");
    assert_eq!(refused.0, 403, "{refused:?}");
    assert_eq!(refused, words(robot.get(&theirs("nobody")), "nobody"), "who is there is not told");
    let user = "tenant:acme:system:serviceaccount:default:robot";
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "guests"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(globex.post(bindings, &binding).0, 201);
    robot.until(&theirs("globex"), |code, _| code == 200);
    assert_eq!(robot.get("/api/v1/tenants/globex/namespaces/default/secrets").0, 403, "it may look, and no more");
    let (code, answer) = Caller { token: &given[..given.len() - 4], ..acme }.get(&theirs("globex"));
    assert_eq!(code, 401, "{answer}");

    // An account of the region's own is known, though not allowed, wherever it asks.
    let given = token(&root, "default");
    let own = Caller { token: &given, ..root };
    for path in [PLACEMENTS, "/api/v1/tenants/all/pods", &theirs("globex"), &theirs("acme")] {
        let (code, answer) = own.get(path);
        assert_eq!(code, 403, "{path}: {answer}");
    }
    let (code, answer) = own.post("/api/v1/tenants", &tenant("mine", &json!({"arktos.io/partition": "tp-2"})));
    assert_eq!(code, 403, "{answer}");

    assert_eq!(acme.delete(&format!("{ACCOUNTS}/robot")).0, 200);
    robot.until(&theirs("globex"), |code, _| code == 401);
}
