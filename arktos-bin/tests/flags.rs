//! What `arktos up` is told on its command line: each flag does what it says, and what cannot be is refused in a line.

mod process;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use process::http::names;
use process::{PATIENCE, Region, pause};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// A region of one tenant, and what is asked for beside.
fn start(directory: &Path, arguments: &[&str]) -> Region {
    Region::start_with_tokens(directory, &[&["--tenants", "acme"], arguments].concat())
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

/// What a start that must fail says.
fn refusal(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let said = Region::try_start(&directory.path().join("data"), arguments).err();
    let said = said.unwrap_or_else(|| panic!("it started with {arguments:?}"));
    assert!(said.starts_with("error: ") && !said.contains("panicked"), "{said}");
    said
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let bad = directory.path().join("bad.csv");
    std::fs::write(&bad, "token,user,1\nonly-a-token\n").expect("written");
    let bad = bad.to_str().expect("a path");
    for (arguments, reason) in [
        (&["--insecure-listen", "0.0.0.0:0"][..], "loopback"),
        (&["--insecure-listen", "192.0.2.1:8080"], "loopback"),
        (&["--insecure-listen", "[::]:0"], "loopback"),
        (&["--store", "paper"], "paper"),
        (&["--tenants", "Acme"], "Acme"),
        (&["--tenants", "all"], "all"),
        (&["--controllers", "nmaespace"], "nmaespace"),
        (&["--controllers", "shceduler"], "csrcleaner, nodelifecycle, scheduler"),
        (&["--log-level", "banana"], "\"banana\" is not a level"),
        (&["--encryption-provider-config", bad], "expected an EncryptionConfiguration"),
        (&["--service-cluster-ip-range", "10.0.0.0"], "10.0.0.0"),
        (&["--service-node-port-range", "9-1"], "9-1"),
        (&["--enable-admission-plugins", "Nonsense"], "Nonsense"),
        (&["--token-auth-file", bad], "line 2"),
        (&["--token-auth-file", "no/such/file"], "no/such/file"),
        (&["--history-window", "soon"], "soon"),
        (&["--hosts", "many"], "many"),
        (&["--otlp-endpoint", "paper"], "paper"),
        (&["--otlp-endpoint", "https://127.0.0.1:1", "--otlp-ca-file", "no/such/file"], "no/such/file"),
        (&["--trace-sampling", "0.5"], "--otlp-endpoint"),
        (&["--trace-sampling", "2"], "from 0 to 1"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let said = refusal(arguments);
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}

#[test]
fn every_program_says_what_it_takes() {
    for (program, flag) in [
        (env!("CARGO_BIN_EXE_arktos"), "A multi-tenant, Kubernetes-compatible control plane"),
        (env!("CARGO_BIN_EXE_arktos-directory"), "--name"),
        (env!("CARGO_BIN_EXE_arktos-partition"), "--resource-manager"),
        (env!("CARGO_BIN_EXE_arktos-resource-manager"), "--partition"),
        (env!("CARGO_BIN_EXE_arktos-gateway"), "--partition"),
        (env!("CARGO_BIN_EXE_arktos-aggregator"), "--partition"),
        (env!("CARGO_BIN_EXE_arktos-hosts"), "--hosts"),
    ] {
        let output = Command::new(program).arg("--help").output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(flag), "{program}: {said}");
    }
}

#[test]
fn kubeconfigs_and_keys_are_the_owners_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let region = start(directory.path(), &["--hosts=0"]);
    for file in [region.kubeconfig(None), region.kubeconfig(Some("acme")), region.data_dir.join("pki/ca.key")] {
        let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let config = std::fs::read_to_string(region.kubeconfig(Some("acme"))).expect("read");
    assert!(config.contains(&format!("https://{}/tenants/acme", region.address)), "{config}");
}

/// What `arktos` says on standard output and standard error, and whether it went well.
fn said(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_arktos")).args(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_role_is_named_so_that_others_can_find_it() {
    for bad in ["../elsewhere", "TP", "a_b", ""] {
        let (good, _, why) =
            said(&["partition", "--data-dir=d", "--pki-dir=p", "--resource-manager=r=f", "--name", bad]);
        assert!(!good && why.contains("cannot name a role"), "{bad}: {why}");
    }
    let (_, _, why) = said(&["hosts", "--resource-manager=rm-1=no/such/file"]);
    assert!(why.contains("the kubeconfig of rm-1 (no/such/file)"), "{why}");
}

#[test]
fn nobody_is_made_an_administrator_of_the_region_without_a_word() {
    let directory = tempfile::tempdir().expect("a directory");
    let pki = directory.path().join("pki");
    let made = |more: &[&str]| {
        let (good, config, why) = said(&[&["kubeconfig", "--pki-dir", pki.to_str().expect("a path")], more].concat());
        assert!(!why.contains("panicked"), "{why}");
        if good { Ok(config) } else { Err(why) }
    };
    for good in [&[][..], &["--user=admin"], &["--user=x", "--component"], &["--user=alice", "--tenant=acme"]] {
        assert!(made(good).expect("is made").contains("client-certificate-data"), "{good:?}");
    }
    let refused = made(&["--user", "alice"]).expect_err("is refused");
    assert!(refused.contains("--tenant NAME") && refused.contains("--group system:masters"), "{refused}");
    assert!(made(&["--user=bob", "--tenant=acme", "--group=dev", "--group=ops"]).is_ok());
    assert!(made(&["--server", "foo"]).expect_err("is refused").contains("https://host:port"));

    let file = directory.path().join("alice.kubeconfig");
    let flags = ["--user=alice", "--group=dev", "--output", file.to_str().expect("a path")];
    assert_eq!(made(&flags).expect("is written"), "");
    assert_eq!(std::fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_gateway_that_knows_nobody_and_a_file_for_a_directory_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, _, why) = said(&["gateway", "--pki-dir", directory.path().to_str().expect("a path")]);
    assert!(why.contains("--directory URL") && why.contains("--resource-manager"), "{why}");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("written");
    let (_, _, why) = said(&["up", "--listen=127.0.0.1:0", "--data-dir", file.to_str().expect("a path")]);
    assert!(why.contains("file: it is a file, not a directory"), "{why}");
}

#[test]
fn a_directory_is_begun_by_a_start_that_went_well_and_its_stores_are_missed_when_they_are_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    // Sled wants a directory where a file is.
    std::fs::create_dir(&data).expect("made");
    std::fs::write(data.join("resource-manager-0.sled"), "").expect("written");
    Region::try_start(&data, &["--store=sled", "--hosts=0"]).err().expect("it does not start");
    assert!(Region::start(&data, &["--hosts=0"]).stop().success(), "with another store");
    let begun = Region::try_start(&data, &["--store=memory", "--hosts=0"]).err().expect("it was begun otherwise");
    assert!(begun.contains("begun with --store log"), "{begun}");

    std::fs::remove_dir_all(data.join("partition-0")).expect("removed");
    let gone = Region::try_start(&data, &["--hosts=0"]).err().expect("a store is gone");
    assert!(gone.contains("partition-0 has no files") && gone.contains("arktos store restore"), "{gone}");
    std::fs::remove_file(data.join("store")).expect("removed");
    assert!(Region::start(&data, &["--hosts=0"]).stop().success(), "begun anew");
}

#[test]
fn what_is_kept_depends_on_the_store() {
    for (store, kept) in [("log", true), ("sled", true), ("memory", false)] {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = ["--store", store, "--hosts", "0"];
        let region = start(directory.path(), &arguments);
        assert_eq!(region.caller("acme-token").post(MAPS, &map("kept")).0, 201, "{store}");
        assert!(region.stop().success(), "{store}");
        let region = start(directory.path(), &arguments);
        let code = region.caller("acme-token").get(&format!("{MAPS}/kept")).0;
        assert_eq!(code, if kept { 200 } else { 404 }, "{store}");
    }
}

#[test]
fn tokens_say_who_and_of_which_tenant_and_nobody_may_be_anonymous_if_so_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let region = start(directory.path(), &["--hosts=0"]);
    assert_eq!(region.caller("root-token").get("/api/v1/tenants").0, 200, "no tenant is the region's");
    assert_eq!(region.caller("acme-token").get("/api/v1/tenants").0, 403);
    assert_eq!(region.caller("acme-token").get(MAPS).0, 200);
    assert_eq!(region.caller("other-token").get(MAPS).0, 401);
    assert_eq!((region.caller("").get("/version").0, region.caller("").get(MAPS).0), (200, 403));
    drop(region);
    let region = start(directory.path(), &["--hosts=0", "--anonymous-auth=false"]);
    assert_eq!((region.caller("").get("/version").0, region.caller("").get(MAPS).0), (401, 401));
    assert_eq!(region.caller("acme-token").get(MAPS).0, 200);
}

#[test]
fn services_get_addresses_and_ports_from_the_ranges() {
    let directory = tempfile::tempdir().expect("a directory");
    let ranges = ["--service-cluster-ip-range", "172.30.5.0/24", "--service-node-port-range", "31000-31001"];
    let region = start(directory.path(), &[&ranges[..], &["--hosts=0"]].concat());
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
               "spec": {"type": "NodePort", "ports": [{"port": 80}]}})
    };
    let caller = region.caller("acme-token");
    for name in ["one", "two"] {
        let (code, made) = caller.post(SERVICES, &service(name));
        assert_eq!(code, 201, "{made}");
        assert!(made["spec"]["clusterIP"].as_str().is_some_and(|ip| ip.starts_with("172.30.5.")), "{made}");
        assert!((31000..=31001).contains(&made["spec"]["ports"][0]["nodePort"].as_i64().unwrap_or(0)), "{made}");
    }
    let (code, full) = caller.post(SERVICES, &service("three"));
    assert_ne!(code, 201, "the range is used up: {full}");
}

#[test]
fn controllers_and_plugins_can_be_chosen() {
    let directory = tempfile::tempdir().expect("a directory");
    let chosen = ["--controllers=namespace,tenant", "--disable-admission-plugins=ServiceAccount", "--hosts=0"];
    let region = start(directory.path(), &chosen);
    let caller = region.caller("acme-token");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"},
                     "spec": {"containers": [{"name": "main", "image": "x"}]}});
    let (code, pod) = caller.post("/api/v1/namespaces/default/pods", &pod);
    assert_eq!((code, pod["spec"].get("serviceAccountName")), (201, None), "without the plugin, no account");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "short"}});
    assert_eq!(caller.post("/api/v1/namespaces", &namespace).0, 201);
    assert_eq!(caller.delete("/api/v1/namespaces/short").0, 200);
    let deadline = std::time::Instant::now() + PATIENCE;
    while caller.get("/api/v1/namespaces/short").0 != 404 {
        assert!(std::time::Instant::now() < deadline, "the namespace controller was asked for");
        pause();
    }
    let (_, accounts) = caller.get("/api/v1/serviceaccounts");
    assert_eq!(names(&accounts), Vec::<String>::new(), "the account controller was not");
}

#[test]
fn hosts_and_tenants_are_made_and_more_can_be_named_later() {
    let directory = tempfile::tempdir().expect("a directory");
    let region = start(directory.path(), &["--hosts=2"]);
    let root = region.caller("root-token");
    let deadline = std::time::Instant::now() + PATIENCE;
    while names(&root.get("/api/v1/nodes").1).len() != 2 {
        assert!(std::time::Instant::now() < deadline, "the hosts do not register");
        pause();
    }
    assert!(region.stop().success());
    let data = directory.path().join("data");
    let region = Region::start(&data, &["--hosts=0", "--tenants=globex", "--insecure-listen=127.0.0.1:0"]);
    assert!(region.kubeconfig(Some("globex")).exists());
    assert!(region.stop().success());
    let region = start(directory.path(), &["--hosts=0"]);
    let (_, tenants) = region.caller("root-token").get("/api/v1/tenants");
    assert_eq!(names(&tenants), ["//acme", "//globex", "//system"]);
}

#[test]
fn requests_are_entered_in_the_audit_log_as_its_policy_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let (policy, log) = (directory.path().join("policy.yaml"), directory.path().join("audit.log"));
    let rules = "rules:\n- {level: None, userGroups: [\"arktos:components\"]}\n- {level: Metadata}\n";
    std::fs::write(&policy, format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}")).expect("written");
    let (policy, text) = (policy.to_str().expect("a path"), || std::fs::read_to_string(&log).unwrap_or_default());
    let flags = ["--hosts=0", "--audit-policy-file", policy, "--audit-log-path", log.to_str().expect("a path")];
    let region = start(directory.path(), &flags);
    assert_eq!(region.caller("acme-token").post(MAPS, &map("seen")).0, 201);
    assert!(region.stop().success());
    let events: Vec<Value> = text().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let created = |event: &&Value| event["verb"] == "create" && event["stage"] == "ResponseComplete";
    let event = events.iter().find(created).expect("it is entered");
    assert_eq!((&event["user"]["username"], &event["sourceIPs"]), (&json!("alice"), &json!(["127.0.0.1"])));
    let mode = std::fs::metadata(&log).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(refusal(&["--audit-policy-file", policy]).contains("--audit-log-path"));
}
