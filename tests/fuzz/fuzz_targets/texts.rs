#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fondaco_fuzz::texts(data));
