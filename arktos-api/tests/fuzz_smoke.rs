//! The fuzz targets of this crate, over a small seeded corpus: good inputs, damaged ones, and noise.

#[path = "../../fuzz/fuzz_targets/api/mod.rs"]
mod targets;

use arktos_store::Random;
use arktos_store::clock::SeededRandom;

/// How many damaged copies are made of each good input.
const COPIES: usize = 300;

fn run(target: fn(&[u8]), good: &[&[u8]], alphabet: &[u8]) {
    let random = SeededRandom::new(0x5eed);
    let below = |limit: usize| usize::try_from(random.next() % limit.max(1) as u64).expect("small");
    for good in good {
        target(good);
        for _ in 0..COPIES {
            let mut copy = good.to_vec();
            for _ in 0..=below(4) {
                let (at, byte) = (below(copy.len() + 1), alphabet[below(alphabet.len())]);
                match below(4) {
                    0 => copy.insert(at, byte),
                    1 if at < copy.len() => drop(copy.remove(at)),
                    2 if below(4) == 0 => copy.truncate(at),
                    _ if at < copy.len() => copy[at] = byte,
                    _ => copy.push(byte),
                }
            }
            target(&copy);
        }
    }
}

#[test]
fn paths() {
    let good: [&[u8]; 6] = [
        b"/api/v1/namespaces/default/pods?labelSelector=a%3Db&limit=5&fieldSelector=metadata.name%3Dx",
        b"/apis/apps/v1/deployments?watch=1&timeoutSeconds=1&allowWatchBookmarks=true",
        b"/tenants/system/api/v1/nodes/n/status",
        b"/api/v1/tenants/all/configmaps?continue=abc",
        b"/openapi/v3/apis/apps/v1?hash=00",
        b"/apis/rbac.authorization.k8s.io/v1/clusterroles/admin",
    ];
    run(targets::path, &good, b"/%.?&=20aepiv1tns-_*~+;#");
}

#[test]
fn tokens() {
    let good: [&[u8]; 3] = [
        b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIiwiYXJrdG9zLmlvIjp7InRlbmFudCI6ImFjbWUifX0.AAAA",
        b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.",
        b"root",
    ];
    run(targets::jwt, &good, b"eyJ.AZaz09-_=");
}

#[test]
fn certificates() {
    let whole = [&[0x30, 0x82, 0x01, 0x0a, 0x30, 0x03, 0x02, 0x01, 0x02, 0xa0, 0x03][..], &[0x31; 40]].concat();
    let alphabet: Vec<u8> = (0..=255).collect();
    run(targets::certificate, &[&whole, b""], &alphabet);
}

#[test]
fn bodies() {
    let good: [&[u8]; 5] = [
        b"application/json /api/v1/namespaces\n{\"metadata\":{\"name\":\"a\",\"labels\":{\"a\":\"b\"}}}",
        b"application/yaml /api/v1/namespaces\nmetadata:\n  name: a\n",
        b"application/merge-patch+json /api/v1/namespaces\n{\"metadata\":{\"labels\":{\"a\":\"b\"}}}",
        b"application/apply-patch+yaml /api/v1/namespaces\napiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system}\n",
        b"application/vnd.kubernetes.protobuf /api/v1/namespaces\nk8s\0\n\x0f\n\x02v1\x12\tNamespace",
    ];
    run(targets::body, &good, b"{}[]\",:/-01ab.\n \0k8s\x12");
}
