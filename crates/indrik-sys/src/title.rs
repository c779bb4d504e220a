//! What `ps` and `top` show: the memory in which the kernel put the arguments is overwritten.
//!
//! That memory is followed by the environment, which is moved away first, so that a title may be
//! longer than the command line was.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::sync::OnceLock;

/// Where the title goes: address and length.
struct Area {
    start: usize,
    length: usize,
}

static AREA: OnceLock<Option<Area>> = OnceLock::new();

/// Sets the title of this process. A title too long for the memory is cut. The first call is to be
/// made while the process has one thread.
///
/// # Errors
/// When the memory's place cannot be found out (no /proc) or holds nothing.
pub fn set(title: &str) -> io::Result<()> {
    let short = CString::new(title.replace('\0', " ")).map_err(io::Error::other)?;
    rustix::thread::set_name(&short)?;
    let Some(area) = AREA.get_or_init(|| prepare().ok()) else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the arguments' memory is unknown"));
    };
    let length = short.as_bytes().len().min(area.length - 1);
    let start = area.start as *mut u8;
    // SAFETY: the area is this process's argument and environment memory, writable, never freed, of that
    // length; `prepare` has moved the environment away, and nothing else refers to it.
    unsafe {
        std::ptr::copy_nonoverlapping(short.as_ptr().cast(), start, length);
        std::ptr::write_bytes(start.add(length), 0, area.length - length);
    }
    Ok(())
}

fn prepare() -> io::Result<Area> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (start, end) = borders(&stat)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat"))?;
    move_environment(start..end);
    Ok(Area { start, length: end - start })
}

/// Fields 48 (arg_start) and 51 (env_end); the name in field 2 may hold spaces and brackets.
fn borders(stat: &str) -> Option<(usize, usize)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok();
    let (start, arg_end) = (field(48)?, field(49)?);
    let (env_start, env_end) = (field(50)?, field(51)?);
    let end = if env_start >= arg_end && env_start - arg_end <= 8 { env_end } else { arg_end };
    (start != 0 && end > start + 1).then_some((start, end))
}

/// Copies every environment string that lies in the area, and the list of them, to fresh memory
/// that is never freed: whoever called `getenv` may hold on to it.
fn move_environment(area: std::ops::Range<usize>) {
    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }
    let mut moved: Vec<*mut c_char> = Vec::new();
    // SAFETY: `environ` is null or a null-terminated list of C strings; one thread runs (see `set`),
    // so nobody changes it meanwhile.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let inside = area.contains(&(*at as usize));
            moved.push(if inside { CStr::from_ptr(*at).to_owned().into_raw() } else { *at });
            at = at.add(1);
        }
        moved.push(std::ptr::null_mut());
        environ = Vec::leak(moved).as_mut_ptr();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_shows_in_proc_and_the_environment_stays_readable() {
        let path = std::env::var("PATH").unwrap();
        set("indrik: test [main:app]").unwrap();
        let shown = std::fs::read("/proc/self/cmdline").unwrap();
        assert!(shown.starts_with(b"indrik: test [main:app]\0"), "{shown:?}");
        assert_eq!(std::env::var("PATH").unwrap(), path);
        set("x").unwrap();
        assert!(std::fs::read("/proc/self/cmdline").unwrap().starts_with(b"x\0"));
        let long = "y".repeat(100_000);
        set(&long).unwrap();
        assert!(std::fs::read("/proc/self/cmdline").unwrap().starts_with(b"yyyyyyyy"));
    }

    #[test]
    fn a_process_name_with_brackets_does_not_confuse_the_borders() {
        let mut stat = String::from("1 (a) b) S");
        for number in 4..=52 {
            stat.push_str(&format!(" {}", number * 10));
        }
        assert_eq!(borders(&stat), Some((480, 490)));
    }
}
