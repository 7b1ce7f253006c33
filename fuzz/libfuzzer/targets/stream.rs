#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kthena_fuzz::stream(data));
