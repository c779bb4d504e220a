//! Tests of the encoding of heads.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::wire::*;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn borrowed(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
}

fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..len_max)
}

fn fields() -> impl Strategy<Value = Fields> {
    vec((bytes(24), bytes(48)), 0..12)
}

fn encoded_response(status: u16, reason: &[u8], fields: &Fields) -> Vec<u8> {
    let mut out = vec![0; response_len(reason, headers_len(borrowed(fields)))];
    let count = u16::try_from(fields.len()).unwrap();
    let written = encode_response(&mut out, status, reason, count, borrowed(fields));
    assert_eq!(written, out.len(), "the length was foretold exactly");
    out
}

/// Decodes anything and reads all of it.
fn read_all(bytes: &[u8]) {
    if let Ok(head) = RequestHead::decode(bytes) {
        let strings = head.method.len() + head.target.len() + head.client.len();
        let in_fields: usize = head.headers.map(|(name, value)| name.len() + value.len()).sum();
        assert_eq!(head.headers.count(), head.headers.into_iter().count());
        assert!(strings + in_fields <= bytes.len());
    }
    if let Ok(head) = ResponseHead::decode(bytes) {
        let in_fields: usize = head.headers.map(|(name, value)| name.len() + value.len()).sum();
        assert_eq!(head.headers.count(), head.headers.into_iter().count());
        assert!(head.reason.len() + in_fields <= bytes.len());
    }
    if let Ok(headers) = Headers::decode(bytes) {
        assert_eq!(headers.count(), headers.into_iter().count());
    }
}

#[test]
fn strings_longer_than_64_kib_do_not_spill_into_what_follows() {
    let long = vec![b'a'; 70_000];
    let fields = vec![(long.clone(), b"1".to_vec()), (b"x".to_vec(), long.clone())];
    let encoded = encoded_response(200, &long, &fields);
    let head = ResponseHead::decode(&encoded).unwrap();
    assert_eq!(head.reason, long);
    assert!(head.headers.eq(borrowed(&fields)));
}

#[test]
fn a_count_without_fields_is_refused() {
    let mut out = [0; 2];
    assert_eq!(encode_headers(&mut out, 1, core::iter::empty()), 2);
    assert_eq!(Headers::decode(&out), Err(HeadError));
}

#[test]
fn the_default_list_is_empty() {
    assert_eq!(Headers::default().next(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

    #[test]
    fn a_request_head_comes_back_as_it_was(
        (version, secure, listener, client_port) in any::<(u8, bool, u16, u16)>(),
        (method, target, client) in (bytes(16), bytes(64), bytes(20)),
        (prefix, proxied) in (bytes(16), bytes(24)),
        (fields, body) in (fields(), bytes(32)),
    ) {
        let headers = headers_len(borrowed(&fields));
        let head = RequestHead {
            version, secure, listener, client_port,
            method: &method, target: &target, client: &client, prefix: &prefix,
            proxied: &proxied, headers: Headers::default(),
        };
        let len = request_len(&head, headers);
        let mut out = vec![0; len];
        let count = u16::try_from(fields.len()).unwrap();
        prop_assert_eq!(encode_request(&mut out, &head, count, borrowed(&fields)), len);
        // A body behind the head does not matter, a cut anywhere does.
        out.extend_from_slice(&body);
        let decoded = RequestHead::decode(&out).unwrap();
        prop_assert!(decoded.headers.eq(borrowed(&fields)));
        prop_assert_eq!(RequestHead { headers: Headers::default(), ..decoded }, head);
        for cut in 0..len {
            prop_assert_eq!(RequestHead::decode(&out[..cut]), Err(HeadError));
        }
    }

    #[test]
    fn a_response_head_comes_back_as_it_was(
        (status, reason, fields) in (any::<u16>(), bytes(40), fields()),
    ) {
        let encoded = encoded_response(status, &reason, &fields);
        let head = ResponseHead::decode(&encoded).unwrap();
        prop_assert_eq!((head.status, head.reason), (status, reason.as_slice()));
        prop_assert!(head.headers.eq(borrowed(&fields)));
        for cut in 0..encoded.len() {
            prop_assert_eq!(ResponseHead::decode(&encoded[..cut]), Err(HeadError));
        }
    }

    #[test]
    fn a_list_of_fields_comes_back_as_it_was(fields in fields()) {
        let mut out = vec![0; 2 + headers_len(borrowed(&fields))];
        let count = u16::try_from(fields.len()).unwrap();
        prop_assert_eq!(encode_headers(&mut out, count, borrowed(&fields)), out.len());
        prop_assert!(Headers::decode(&out).unwrap().eq(borrowed(&fields)));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_read_past_their_end(bytes in bytes(256)) {
        read_all(&bytes);
    }

    #[test]
    fn a_head_with_one_changed_byte_never_panics(
        (fields, at, value) in (fields(), any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let mut encoded = encoded_response(200, b"OK", &fields);
        let at = at.index(encoded.len());
        encoded[at] = value;
        read_all(&encoded);
    }
}
