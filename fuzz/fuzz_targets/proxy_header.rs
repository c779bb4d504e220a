//! Any bytes through the reader of PROXY headers: no panic, and the verdict does not depend on how many
//! bytes are here.
#![no_main]

use indrik_core::proxy::{Accepts, Found, read_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for accepts in [Accepts::V1, Accepts::V2, Accepts::Both] {
        let whole = read_header(bytes, accepts);
        let first = (0..=bytes.len())
            .map(|len| read_header(&bytes[..len], accepts))
            .find(|verdict| *verdict != Ok(Found::Incomplete));
        assert_eq!(first.unwrap_or(Ok(Found::Incomplete)), whole);
    }
});
