//! The header `traceparent` (W3C Trace Context), read strictly: what is not exactly that begins a new trace.

use super::hex;

/// The length of what is written here: version 00.
pub const BYTES: usize = 55;
/// The flag that says that a trace is recorded.
const SAMPLED: u8 = 1;

/// A trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// One step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The span whose children follow.
    pub span: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceId {
    /// A trace of these random bits; zero, which is none, becomes another number.
    #[must_use]
    pub fn made([high, low]: [u64; 2]) -> Self {
        let bits = (u128::from(high) << 64 | u128::from(low)).max(1);
        Self(bits.to_be_bytes())
    }

    /// Its digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::text(&self.0)
    }

    /// Its bits, the higher ones first.
    #[must_use]
    pub fn words(&self) -> [u64; 2] {
        let bits = u128::from_be_bytes(self.0);
        [(bits >> 64) as u64, bits as u64]
    }

    /// Whether it is one of `percent` in a hundred. Its last bits decide, so every server that looks at them comes
    /// to the same.
    #[must_use]
    pub fn is_among(&self, percent: u32) -> bool {
        let mut last = [0; 8];
        last.copy_from_slice(&self.0[8..]);
        // The highest of them was no random one in older versions of the standard.
        let chance = u64::from_be_bytes(last) << 8 >> 8;
        u128::from(chance) * 100 < u128::from(percent) << 56
    }
}

impl SpanId {
    /// A span of these random bits; zero, which is none, becomes another number.
    #[must_use]
    pub fn made(chance: u64) -> Self {
        Self(chance.max(1).to_be_bytes())
    }

    /// Its bits.
    #[must_use]
    pub const fn word(&self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    /// Its digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::text(&self.0)
    }
}

impl Parent {
    /// Reads a header's value.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(BYTES)?;
        let [version] = hex::read(&known[..2])?;
        // A later version may go on after a hyphen; ff is none.
        let ends = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        if !ends || [known[2], known[35], known[52]] != *b"---" {
            return None;
        }
        let (trace, span) = (hex::read(&known[3..35])?, hex::read(&known[36..52])?);
        let [flags] = hex::read(&known[53..])?;
        let is_one = trace != [0; 16] && span != [0; 8];
        is_one.then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled: flags & SAMPLED != 0,
        })
    }

    /// The header's value.
    #[must_use]
    pub fn write(&self) -> [u8; BYTES] {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex::write(&self.trace.0, &mut value[3..35]);
        hex::write(&self.span.0, &mut value[36..52]);
        value[54] = if self.sampled { b'1' } else { b'0' };
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_and_written_again() {
        let parent = Parent::parse(GOOD.as_bytes()).unwrap();
        assert!(parent.sampled);
        assert_eq!(parent.trace.hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span.hex(), "00f067aa0ba902b7");
        assert_eq!(parent.write(), GOOD.as_bytes());
        // Flags that have no meaning yet say nothing.
        let other = Parent::parse(GOOD.replace("-01", "-fe").as_bytes()).unwrap();
        assert!(!other.sampled);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = GOOD.replacen("00", "cc", 1);
        assert!(Parent::parse(later.as_bytes()).is_some());
        assert!(Parent::parse(format!("{later}-what-comes").as_bytes()).is_some());
        assert!(Parent::parse(format!("{later}.what-comes").as_bytes()).is_none());
        assert!(Parent::parse(format!("{GOOD}-more").as_bytes()).is_none(), "not in this one");
        assert!(Parent::parse(GOOD.replacen("00", "ff", 1).as_bytes()).is_none());
    }

    #[test]
    fn what_is_not_exactly_a_parent_is_none() {
        let zero_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let zero_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let upper = GOOD.to_ascii_uppercase();
        let spaced = format!(" {GOOD}");
        for bad in ["", "00", zero_trace, zero_span, &upper, &spaced, &GOOD[..54]] {
            assert!(Parent::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        for at in 0..GOOD.len() {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = b'g';
            assert!(Parent::parse(&bytes).is_none(), "{at}");
        }
    }

    #[test]
    fn as_many_traces_are_recorded_as_were_asked_for() {
        let traces = |percent| {
            let made =
                (0..10_000u64).map(|n| TraceId::made([n, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)]));
            made.filter(|trace| trace.is_among(percent)).count()
        };
        assert_eq!((traces(0), traces(100)), (0, 10_000));
        assert!((900..1_100).contains(&traces(10)), "{}", traces(10));
    }

    proptest! {
        #[test]
        fn no_value_is_read_in_two_ways(value in prop::collection::vec(any::<u8>(), 0..70)) {
            if let Some(parent) = Parent::parse(&value) {
                prop_assert_eq!(&parent.write()[3..52], &value[3..52]);
            }
        }
    }
}
