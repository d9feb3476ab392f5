#![no_main]

mod bin;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bin::oidc(bytes));
