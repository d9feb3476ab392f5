//! Serving certificates that are replaced on disk while everybody works: nobody's request fails, no watch ends, and who
//! connects afterwards is shown the new ones.

mod process;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arktos_bin::net::pki::Authority;
use arktos_bin::net::tls;
use process::http::Caller;
use process::roles::{Place, Process, caller};
use process::{PATIENCE, pause};
use rustls::pki_types::ServerName;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The certificate that a server shows to somebody who connects now.
fn shown(address: SocketAddr, authority: &str) -> Vec<u8> {
    let config = Arc::new(tls::client(None, authority).expect("usable"));
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = rustls::ClientConnection::new(config, name).expect("a connection");
    let mut socket = TcpStream::connect(address).expect("it listens");
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).expect("it is trusted");
    }
    connection.peer_certificates().expect("it has one")[0].to_vec()
}

/// Puts another certificate in place of a role's, for the same names.
fn replace(place: &Place, authority: &Authority, role: &str) {
    let names = place.path("pki").join(format!("{role}.names"));
    let kept = std::fs::read(&names).expect("is there");
    let addresses = ["127.0.0.1", "::1"].map(|address| address.parse().expect("an address"));
    let host_names = ["localhost", "kubernetes", role].map(str::to_owned);
    authority.server(role, &addresses, &host_names).expect("made");
    std::fs::write(&names, kept).expect("written"); // as if it had been made for what the role is reached by
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{what} never came");
        pause();
    }
}

/// Writes until told to stop, and says how often. Every write must be answered, and taken.
fn writes(tenant: Caller<'_>, prefix: &str, stop: &AtomicBool) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("{prefix}-{count}");
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let (code, answer) = tenant.post(MAPS, &map);
        assert_eq!(code, 201, "{name}: {answer}");
        count += 1;
        pause();
    }
    count
}

#[test]
fn serving_certificates_are_replaced_while_everybody_works() {
    let mut place = Place::new();
    let authority = Authority::open(&place.path("pki")).expect("is there");
    let directory = place.keeper("directory", "directory", &[]);
    place.found_at = format!("https://{}", directory.address.expect("it serves"));
    let manager = place.member("resource-manager", "rm-1", &[]);
    let partition = place.member("partition", "tp-1", &[]);
    let gateway = place.gateway(&[]);
    let root = caller(&gateway, "root-token");
    let tenant = json!({"apiVersion": "v1", "kind": "Tenant", "metadata": {"name": "acme"}});
    until("the tenant", || [201, 409].contains(&root.post("/api/v1/tenants", &tenant).0));
    let acme = caller(&gateway, "acme-token");
    until("its account", || acme.get("/api/v1/namespaces/default/serviceaccounts/default").0 == 200);
    let watch = acme.watch(&format!("{MAPS}?watch=1"));

    let roles = [("directory", directory), ("rm-1", manager), ("tp-1", partition), ("gateway", gateway)];
    let shown = |process: &Process| shown(process.address.expect("it serves"), authority.certificate());
    let before = roles.each_ref().map(|(_, process)| shown(process));
    let stop = AtomicBool::new(false);
    let written: usize = std::thread::scope(|scope| {
        let writers = ["a", "b", "c"].map(|prefix| scope.spawn(|| writes(acme, prefix, &stop)));
        roles.iter().for_each(|(role, _)| replace(&place, &authority, role));
        for ((role, process), before) in roles.iter().zip(&before) {
            until(&format!("the new certificate of {role}"), || shown(process) != *before);
        }
        // Who comes now has to trust the new ones: a gateway that knows nobody yet.
        let late = place.gateway(&[]);
        let late = caller(&late, "acme-token");
        until("what it is told of others", || late.get(MAPS).0 == 200);
        let more = writes_some(late);
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("none failed")).sum::<usize>() + more
    });
    let told = || watch.names(|map| map["metadata"]["name"] != "kube-root-ca.crt").len();
    until("all that was written, in a watch that was open before", || told() == written);
}

/// A few writes.
fn writes_some(tenant: Caller<'_>) -> usize {
    for number in 0..10 {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("late-{number}")}});
        assert_eq!(tenant.post(MAPS, &map).0, 201);
    }
    10
}
