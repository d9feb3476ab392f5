//! Two aggregators of one name: gateways go on with the one that is left.

use super::process::http::names;
use super::process::roles::caller;
use super::{Region, eventually};

#[test]
fn when_an_aggregator_dies_all_tenants_are_shown_by_the_other_one() {
    let region = Region::start();
    let serve = || region.place.serve("aggregator", &["--directory", &region.place.found_at]);
    let (one, other) = (serve(), serve());
    let url = |at: &super::Process| format!("https://{}", at.address.expect("it serves"));
    let servers = format!("{},{}", url(&one), url(&other));
    let gateway = region.place.gateway(&["--aggregator", &region.aggregator, "--aggregator-server", &servers]);
    let root = caller(&gateway, "root-token");
    let all = "/api/v1/tenants/all/namespaces";
    let before = root.until(all, |code, list| code == 200 && !names(list).is_empty());
    let watch = root.watch(&format!("{all}?watch=1"));
    eventually("what there is", || watch.events().len() >= names(&before).len());
    one.kill();
    let after = root.until(all, |code, _| code == 200);
    assert!(names(&before).iter().all(|name| names(&after).contains(name)), "{after}");
    // What one has counted, the other one does not go on with: whoever watches is told to list again.
    let revision = before["metadata"]["resourceVersion"].as_str().expect("a revision");
    let (_, told) = root.get(&format!("{all}?watch=1&timeoutSeconds=1&resourceVersion={revision}"));
    assert!(told["object"]["code"] == 410 || told["code"] == 410 || told["code"] == 504, "{told}");
}
