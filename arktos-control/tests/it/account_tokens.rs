//! Secrets with tokens of service accounts.

use serde_json::{Value, json};

use crate::world::World;

const TYPE: &str = "kubernetes.io/service-account-token";

fn tokens(world: &World) -> Vec<String> {
    let of_default = |path: &String| path.starts_with("acme/default/default-token-");
    world.names("secrets").into_iter().filter(of_default).collect()
}

fn asked(account: &str) -> Value {
    let annotations = json!({"kubernetes.io/service-account.name": account});
    json!({"metadata": {"name": "long-lived", "annotations": annotations}, "type": TYPE})
}

#[test]
fn a_secret_that_asks_for_a_token_gets_one_and_goes_with_the_account() {
    let mut world = World::on_the_road();
    assert_eq!(tokens(&world), Vec::<String>::new(), "nobody gets one unasked");
    world.create("serviceaccounts", "acme", "default", json!({"metadata": {"name": "robot"}})).expect("created");
    world.create("secrets", "acme", "default", asked("robot")).expect("created");
    world.settle();
    let secret = world.get("secrets", "acme/default/long-lived");
    let data = secret["data"].as_object().expect("data");
    let mut keys: Vec<&str> = data.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["ca.crt", "namespace", "token"]);
    assert_eq!(data["namespace"], "ZGVmYXVsdA==");
    let account = world.get("serviceaccounts", "acme/default/robot");
    let uid = &secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"];
    assert_eq!(*uid, account["metadata"]["uid"]);
    world.delete("serviceaccounts", "acme/default/robot", None);
    world.settle();
    assert_eq!(world.find("secrets", "acme/default/long-lived"), None);
}

#[test]
fn a_secret_for_an_account_that_is_not_there_goes() {
    let mut world = World::on_the_road();
    world.create("secrets", "acme", "default", asked("nobody")).expect("created");
    world.settle();
    assert_eq!(world.find("secrets", "acme/default/long-lived"), None);
}

#[test]
fn where_old_clients_are_served_each_account_has_one_and_gets_it_back() {
    let mut world = World::on_the_road_with(|options| options.token_secrets(true));
    let first = tokens(&world);
    assert_eq!(first.len(), 1, "{first:?}");
    let name = first[0].rsplit('/').next().expect("a name");
    let account = world.get("serviceaccounts", "acme/default/default");
    assert_eq!(account["secrets"], json!([{"name": name}]));
    assert!(world.get("secrets", &first[0])["data"]["token"].is_string());
    world.delete("secrets", &first[0], None);
    world.settle();
    assert_eq!(tokens(&world).len(), 1, "it is made anew");
    world.delete("serviceaccounts", "acme/default/default", None);
    world.settle();
    let (account, second) = (world.get("serviceaccounts", "acme/default/default"), tokens(&world));
    assert_eq!(second.len(), 1, "{second:?}");
    assert_ne!(first, second, "the new account has one of its own");
    assert_eq!(account["secrets"].as_array().map(Vec::len), Some(1));
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "shop"}})).expect("created");
    world.settle();
    world.delete("namespaces", "acme//shop", None);
    world.pass(10);
    assert_eq!(world.find("namespaces", "acme//shop"), None);
    assert!(world.names("secrets").iter().all(|path| !path.starts_with("acme/shop/")));
}
