//! The fuzz targets of this crate, over seeds that its own writers make.
#![cfg(feature = "log")]

mod model;
#[path = "../../fuzz/smoke/mod.rs"]
#[allow(dead_code)] // each crate uses its own part
mod smoke;
#[path = "../../fuzz/fuzz_targets/store/mod.rs"]
mod targets;

use std::sync::Arc;

use arktos_core::{ObjectPath, Revision, Timestamp};
use arktos_store::clock::ManualClock;
use arktos_store::token::Continue;
use arktos_store::{Change, Commit, Engine, Expect};
use smoke::run_from;

#[test]
fn continue_token() {
    let (key, selection) = targets::list();
    let place = Continue { revision: Some(Revision(9)), after: ObjectPath::new("acme", "a", "web"), left: None };
    let good = place.seal(&key, &selection).into_bytes();
    run_from(targets::continue_token, &[good], b"ABCabcyz019-_=%\xff");
}

#[tokio::test]
async fn backup() {
    let engine = Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(5))));
    for number in 0..3 {
        let put = Change::put(model::object(number, &(1, 1)));
        engine.commit(Commit::one(model::key(0, number), Expect::Anything, put)).await.expect("commits");
    }
    let mut good = Vec::new();
    engine.backup(&mut good, &mut |_| {}).expect("writes");
    let alphabet: Vec<u8> = (0..=255).collect();
    run_from(targets::backup, &[good], &alphabet);
}
