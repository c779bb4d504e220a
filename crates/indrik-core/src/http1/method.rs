//! The names of methods.

/// Gunicorn's rule for the length of a method.
const CONVENTIONAL_BYTES: std::ops::RangeInclusive<usize> = 3..=20;

/// Whether a method has a name as methods have them: `permit_unconventional_http_method` lets others pass.
#[must_use]
pub fn is_conventional_method(name: &str) -> bool {
    CONVENTIONAL_BYTES.contains(&name.len())
        && !name.bytes().any(|byte| byte.is_ascii_lowercase() || byte == b'#')
}
