//! The fuzz targets of this crate, over their seeds.

#[path = "../../fuzz/smoke/mod.rs"]
mod smoke;
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use smoke::run;

#[test]
fn selectors() {
    run(targets::selectors, "selectors", b"ab=!,()<> \\-./in\xff");
}

#[test]
fn quantity() {
    run(targets::quantity, "quantity", b"0123456789.+-eEinumkKMGTP \xff");
}

#[test]
fn json_patch() {
    run(targets::json_patch, "json_patch", b"{}[]\",:/-01ab~\n");
}

#[test]
fn strategic_merge() {
    run(targets::strategic_merge, "strategic_merge", b"{}[]\",:/$-01abname\n");
}

#[test]
fn protobuf() {
    let alphabet: Vec<u8> = (0..=255).collect();
    run(targets::protobuf, "protobuf", &alphabet);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protobuf");
    for entry in std::fs::read_dir(folder).expect("the folder of recorded bodies") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            targets::protobuf(&std::fs::read(path).expect("a body"));
        }
    }
}

#[test]
fn yaml() {
    run(targets::yaml, "yaml", b"ab01:-?&*<>|!%@{}[],'\"#~ \n\t\\\xc3");
}

#[test]
fn apply() {
    run(targets::apply, "apply", b"{}[]\",:/-01abname\n");
}

#[test]
fn cel() {
    run(targets::cel, "cel", b"abnx.()[]{}'\"<>=!&|?:,+-*/%0159 \\\xc3");
}

#[test]
fn crd_schema() {
    run(targets::crd_schema, "crd_schema", b"{}[]\",:/-01abkltypeself.\n");
}

#[test]
fn json() {
    run(targets::json, "json", b"{}[]\",:/-01.abnametrufls\\ ");
}
