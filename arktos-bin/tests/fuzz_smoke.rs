//! The fuzz targets of this crate, over their seeds.

#[path = "../../fuzz/smoke/mod.rs"]
#[allow(dead_code)] // each crate uses its own part
mod smoke;
#[path = "../../fuzz/fuzz_targets/bin/mod.rs"]
mod targets;

#[test]
fn tokens_of_a_provider() {
    smoke::run(targets::oidc, "oidc", b"{}[]\",:eyJ.AZaz019-_= \n");
}
