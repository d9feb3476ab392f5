#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| arktos_fuzz::crd_schema(bytes));
