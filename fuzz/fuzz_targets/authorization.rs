#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    authentik_proxy_wasm_fuzz::authorization::run(data);
});
