//! The fuzz targets of this crate, over their seeds.

#[path = "../../fuzz/smoke/mod.rs"]
#[allow(dead_code)] // each crate uses its own part
mod smoke;
#[path = "../../fuzz/fuzz_targets/api/mod.rs"]
mod targets;

use smoke::run;

#[test]
fn paths() {
    run(targets::path, "paths", b"/%.?&=20aepiv1tns-_*~+;#");
}

#[test]
fn tokens() {
    run(targets::jwt, "jwt", b"eyJ.AZaz09-_=");
}

#[test]
fn certificates() {
    let alphabet: Vec<u8> = (0..=255).collect();
    run(targets::certificate, "certificates", &alphabet);
}

#[test]
fn bodies() {
    run(targets::body, "bodies", b"{}[]\",:/-01ab.\n \0k8s\x12");
}
