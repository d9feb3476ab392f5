#![no_main]

#[allow(dead_code)] // each target uses its own part
mod api;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| api::jwt(bytes));
