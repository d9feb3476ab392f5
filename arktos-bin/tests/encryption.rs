//! Secrets encrypted at rest, by the program and its flag: no file has them, keys rotate, and a key that is missing is
//! named.

mod process;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::remote::Remote;
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Revision};
use arktos_store::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use process::Region;
use serde_json::{Value, json};

const SECRET: &str = "hunter2-is-secret";
const PLAIN: &str = "nothing-is-secret";

/// A file with these keys, the first to encrypt with.
fn write_config(path: &Path, keys: &[&str]) {
    let keys: Vec<Value> =
        keys.iter().map(|name| json!({"name": name, "secret": STANDARD.encode([name.as_bytes()[3]; 32])})).collect();
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": keys}}, {"identity": {}}]}],
    });
    std::fs::write(path, config.to_string()).expect("writes");
}

fn connect(region: &Region) -> Arc<dyn Client> {
    let config = Kubeconfig::read(&region.kubeconfig(None)).expect("a kubeconfig");
    Arc::new(Remote::new(&config, Catalog::builtin()).expect("a client"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn object(kind: &str, name: &str, data: &str) -> Object {
    let annotations = json!({"in-an-annotation": data});
    let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "annotations": annotations},
        "data": {"password": data}});
    Object::from_value(object).expect("an object")
}

fn secret_key() -> ObjectKey {
    ObjectKey { resource: GroupResource::core("secrets"), path: ObjectPath::new("acme", "vault", "pw") }
}

/// Writes the secret as it is.
async fn touch(client: &Arc<dyn Client>) -> (Revision, Revision) {
    let stored = client.get(&secret_key()).await.expect("is there");
    let object = stored.object.decode(Some(stored.revision)).expect("decodes");
    assert_eq!(object.str_at(&["data", "password"]), STANDARD.encode(SECRET));
    let written = client.update(&secret_key(), None, object).await.expect("is written");
    (stored.revision, written.revision)
}

/// Whether a file below a directory has this text in it.
fn is_in(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).expect("lists").flatten().any(|entry| match entry.path() {
        path if path.is_dir() => is_in(&path, text),
        path => std::fs::read(path).unwrap_or_default().windows(text.len()).any(|window| window == text.as_bytes()),
    })
}

fn has_secret(directory: &Path) -> bool {
    is_in(directory, SECRET) || is_in(directory, &STANDARD.encode(SECRET))
}

fn arktos(arguments: &[&str], directory: &Path) -> String {
    let data_dir = directory.to_str().expect("text");
    let program = Command::new(env!("CARGO_BIN_EXE_arktos")).args(arguments).args(["--data-dir", data_dir]).output();
    let output = program.expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn no_file_has_a_secret_and_keys_rotate() {
    let directory = tempfile::tempdir().expect("a directory");
    let (data, config) = (directory.path().join("data"), directory.path().join("keys.json"));
    let flag = format!("--encryption-provider-config={}", config.display());
    let plain = ["--hosts", "0", "--controllers", "namespace", "--tenants", "acme"];
    let flags = [plain.as_slice(), &[&flag]].concat();

    write_config(&config, &["key1"]);
    let region = Region::start(&data, &flags);
    runtime().block_on(async {
        let client = connect(&region);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vault"}});
        let namespace = Object::from_value(namespace).expect("an object");
        client.create(&GroupResource::core("namespaces"), "acme", "", namespace).await.expect("created");
        let secret = object("Secret", "pw", &STANDARD.encode(SECRET));
        client.create(&GroupResource::core("secrets"), "acme", "vault", secret).await.expect("created");
        let map = object("ConfigMap", "map", PLAIN);
        client.create(&GroupResource::core("configmaps"), "acme", "vault", map).await.expect("created");
        let (before, after) = touch(&client).await;
        assert_eq!(before, after, "what is not changed is not written");
    });
    assert!(region.stop().success());
    assert!(is_in(&data, PLAIN) && !has_secret(&data));
    let dumped = arktos(&["store", "dump"], &data);
    assert!(dumped.contains(r#""encrypted":"aesgcm:key1""#) && !dumped.contains(&STANDARD.encode(SECRET)));

    let refused = Region::try_start(&data, &plain).err().expect("has no key");
    assert!(refused.contains("secrets acme/vault/pw is encrypted with the key aesgcm:key1"), "{refused}");
    assert_eq!(refused.trim().lines().count(), 1, "one line: {refused}");
    write_config(&config, &["key2"]);
    let refused = Region::try_start(&data, &flags).err().expect("has another key");
    assert!(refused.contains("aesgcm:key1") && refused.contains("name it there"), "{refused}");

    write_config(&config, &["key2", "key1"]);
    let region = Region::start(&data, &flags);
    runtime().block_on(async {
        let (before, after) = touch(&connect(&region)).await;
        assert!(after > before, "it is encrypted anew");
        let (before, after) = touch(&connect(&region)).await;
        assert_eq!(before, after, "once");
    });
    assert!(region.stop().success());
    assert!(arktos(&["store", "dump"], &data).contains(r#""encrypted":"aesgcm:key2""#));

    let backups = directory.path().join("backups");
    arktos(&["store", "backup", "--to", backups.to_str().expect("text")], &data);
    assert!(is_in(&backups, PLAIN) && !has_secret(&backups) && !has_secret(&data));
}
