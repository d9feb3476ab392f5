//! What the fuzz targets of `arktos-store` check. `arktos-store/tests/fuzz_smoke.rs` includes this file and runs the
//! same functions on a stable toolchain.

use arktos_core::{GroupResource, TenantName};
use arktos_store::token::{Continue, TokenKey};
use arktos_store::{Selection, Within, backup};

/// The list that tokens are sealed for here, and the key.
pub fn list() -> (TokenKey, Selection) {
    let tenant = TenantName::new("acme").expect("a name");
    (TokenKey::new([7; 32]), Selection::all(GroupResource::core("pods"), Within::Tenant(tenant)))
}

/// No text opens as a continue token that was not sealed with the key: what opens seals to the same text.
pub fn continue_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (key, selection) = list();
    if let Ok(opened) = Continue::open(text, &key, &selection) {
        assert_eq!(opened.seal(&key, &selection), text);
    }
}

/// Whatever a file holds, it is a whole backup or refused.
pub fn backup(bytes: &[u8]) {
    if let Ok(found) = backup::inspect_from("fuzz", &mut &*bytes) {
        assert_eq!(found.bytes, bytes.len() as u64);
    }
}
