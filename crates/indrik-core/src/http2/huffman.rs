//! Strings of HPACK in Huffman's code (RFC 7541 appendix B).

/// How many symbols have a code of so many bits. The codes are canonical: those of one length follow each other in
/// the order of [`SYMBOLS`], and go on where the shorter ones end.
const COUNTS: [u32; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];

/// The symbols, those with the shortest codes first. The last code of 30 bits is the end of a string, which none
/// contains.
#[rustfmt::skip]
const SYMBOLS: [u8; 256] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51,
    52, 53, 54, 55, 56, 57, 61, 65, 95, 98, 100, 102, 103, 104, 108, 109,
    110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76,
    77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118,
    119, 120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39,
    43, 124, 35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92,
    195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177,
    179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160,
    163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232,
    233, 1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157,
    158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142,
    144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193,
    200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255, 203, 204, 211,
    212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254,
    2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20,
    21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249, 10, 13, 22,
];

/// Decodes a string and gives its bytes out; `None`: it is none.
pub(super) fn decode(coded: &[u8], mut give: impl FnMut(u8)) -> Option<()> {
    // The code so far, the first one of its length, and the place of that one's symbol.
    let (mut code, mut first, mut place, mut len) = (0u32, 0u32, 0u32, 0usize);
    for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        code = code << 1 | u32::from(bit);
        first <<= 1;
        len += 1;
        let count = *COUNTS.get(len)?;
        if code - first < count {
            give(*SYMBOLS.get((place + code - first) as usize)?);
            (code, first, place, len) = (0, 0, 0, 0);
        } else {
            place += count;
            first += count;
        }
    }
    // What is left is padding: the beginning of the code of the end, all ones.
    (len < 8 && code == (1 << len) - 1).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        decode(coded, |byte| bytes.push(byte)).map(|()| bytes)
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded).as_deref(), Some(&b"www.example.com"[..]));
        let coded = [0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf];
        assert_eq!(decoded(&coded).as_deref(), Some(&b"no-cache"[..]));
        assert_eq!(decoded(&[]).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn every_byte_has_a_code() {
        let mut symbols = SYMBOLS;
        symbols.sort_unstable();
        assert!(symbols.iter().enumerate().all(|(at, symbol)| at == usize::from(*symbol)));
        // As long as Kraft allows it: with the end of strings no code is left over.
        let taken: u64 =
            COUNTS.iter().enumerate().map(|(len, count)| u64::from(*count) << (30 - len)).sum();
        assert_eq!(taken, 1 << 30);
    }

    #[test]
    fn the_end_within_a_string_and_wrong_padding_are_no_strings() {
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(decoded(&[0x00]), None);
        assert_eq!(decoded(&[0x1f, 0xff]), None, "eight bits of padding");
    }
}
