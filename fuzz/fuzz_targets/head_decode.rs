//! Any bytes through the decoders of heads: no panic, no read past the end, and what was decoded
//! encodes and decodes to the same again.
#![no_main]

use indrik_ring::{
    Headers, RequestHead, ResponseHead, encode_request, encode_response, headers_len, request_len,
    response_len,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(head) = RequestHead::decode(bytes) {
        let len = request_len(&head, headers_len(head.headers));
        let mut out = vec![0; len];
        let count = u16::try_from(head.headers.count()).expect("a u16 on the wire");
        assert_eq!(encode_request(&mut out, &head, count, head.headers), len);
        assert_eq!(RequestHead::decode(&out), Ok(head));
    }
    if let Ok(head) = ResponseHead::decode(bytes) {
        let mut out = vec![0; response_len(head.reason, headers_len(head.headers))];
        let count = u16::try_from(head.headers.count()).expect("a u16 on the wire");
        encode_response(&mut out, head.status, head.reason, count, head.headers);
        assert_eq!(ResponseHead::decode(&out), Ok(head));
    }
    if let Ok(headers) = Headers::decode(bytes) {
        assert_eq!(headers.count(), headers.into_iter().count());
    }
});
