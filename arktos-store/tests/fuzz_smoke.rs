//! The fuzz targets of this crate, over a small seeded corpus: good inputs, damaged ones, and noise.
#![cfg(feature = "log")]

mod model;
#[path = "../../fuzz/fuzz_targets/store/mod.rs"]
mod targets;

use std::sync::Arc;

use arktos_core::{ObjectPath, Revision, Timestamp};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::token::Continue;
use arktos_store::{Change, Commit, Engine, Expect, Random};

/// How many damaged copies are made of each good input.
const COPIES: usize = 2_000;

fn run(target: fn(&[u8]), good: &[u8], alphabet: &[u8]) {
    let random = SeededRandom::new(0x5eed);
    let below = |limit: usize| usize::try_from(random.next() % limit.max(1) as u64).expect("small");
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

#[test]
fn continue_token() {
    let (key, selection) = targets::list();
    let place = Continue { revision: Some(Revision(9)), after: ObjectPath::new("acme", "a", "web"), left: None };
    run(targets::continue_token, place.seal(&key, &selection).as_bytes(), b"ABCabcyz019-_=%\xff");
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
    run(targets::backup, &good, &alphabet);
}
