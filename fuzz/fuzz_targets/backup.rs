#![no_main]

#[allow(dead_code)] // each target uses its own part
mod store;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| store::backup(bytes));
