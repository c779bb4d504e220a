//! The extensions (TLVs) of a version 2 PROXY header.

use super::malformed::Malformed;

/// Bytes in front of an extension's value: its type and its length.
const PREFIX_BYTES: usize = 3;
/// The type of the one that carries a checksum of the whole header.
const CRC32C: u8 = 3;

/// Checks that the extensions fill the end of the header, and that the checksum is right, if they have
/// one.
pub(super) fn check(header: &[u8], extensions: &[u8]) -> Result<(), Malformed> {
    let mut rest = extensions;
    let mut has_checksum = false;
    while !rest.is_empty() {
        let [kind, high, low, behind @ ..] = rest else { return Err(Malformed::Extension) };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, after)) = behind.split_at_checked(len) else {
            return Err(Malformed::Extension);
        };
        if *kind == CRC32C {
            // Two of them would each cover the other.
            if std::mem::replace(&mut has_checksum, true) {
                return Err(Malformed::Checksum);
            }
            let at = header.len() - rest.len() + PREFIX_BYTES;
            check_sum(header, at, value)?;
        }
        rest = after;
    }
    Ok(())
}

/// The sum at `at` is that of the header with zeros in its place.
fn check_sum(header: &[u8], at: usize, value: &[u8]) -> Result<(), Malformed> {
    let sum: [u8; 4] = value.try_into().map_err(|_| Malformed::Checksum)?;
    let mut zeroed = header.to_vec();
    zeroed[at..at + sum.len()].fill(0);
    if crc32c(&zeroed) == u32::from_be_bytes(sum) { Ok(()) } else { Err(Malformed::Checksum) }
}

/// The checksum of iSCSI (RFC 3720 appendix B.4), bit by bit: a connection has one header of at most
/// some kilobytes.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    /// The polynomial, its bits reversed.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_one_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn extensions_end_where_the_header_does() {
        for (extensions, verdict) in [
            (&b""[..], Ok(())),
            (b"\x01\0\0", Ok(())),
            (b"\x01\0\x02ab\xee\0\0", Ok(())),
            (b"\x01", Err(Malformed::Extension)),
            (b"\x01\0", Err(Malformed::Extension)),
            (b"\x01\0\x01", Err(Malformed::Extension)),
            (b"\x01\xff\xffab", Err(Malformed::Extension)),
            (b"\x03\0\x03abc", Err(Malformed::Checksum)),
            (b"\x03\0\x04\0\0\0\0", Err(Malformed::Checksum)),
        ] {
            assert_eq!(check(extensions, extensions), verdict, "{extensions:?}");
        }
    }
}
