//! Users and groups by name, and becoming one of them for good.

use std::ffi::CString;
use std::io;

use rustix::process::Uid;

/// The system's buffer for one entry of its databases at most.
const ENTRY_BYTES_MAX: usize = 1 << 20;
/// The first buffer for one entry; doubled while it is too small.
const ENTRY_BYTES: usize = 1 << 10;
/// Groups that one user may be in, as the kernel has it.
const GROUPS_MAX: usize = 65_536;

/// One entry of the user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
}

/// The user of this name, if there is one.
///
/// # Errors
/// When the database cannot be read.
pub fn user_named(name: &str) -> io::Result<Option<User>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    // SAFETY: the name is a C string; entry, buffer and result live during the call, and the buffer
    // is as long as said.
    find_user(|entry, buffer, found| unsafe {
        libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
    })
}

/// The user of this number, if there is one.
///
/// # Errors
/// When the database cannot be read.
pub fn user_numbered(uid: u32) -> io::Result<Option<User>> {
    // SAFETY: as in `user_named`.
    find_user(|entry, buffer, found| unsafe {
        libc::getpwuid_r(uid, entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
    })
}

fn find_user(
    look: impl Fn(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> i32,
) -> io::Result<Option<User>> {
    let mut buffer = vec![0; ENTRY_BYTES];
    loop {
        // SAFETY: an all-zero passwd (null pointers) is a valid place to write to.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        match look(&raw mut entry, &mut buffer, &raw mut found) {
            libc::ERANGE if buffer.len() < ENTRY_BYTES_MAX => buffer.resize(buffer.len() * 2, 0),
            // "Not found" has no number of its own that all systems agree on.
            0 | libc::ENOENT | libc::ESRCH if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: the call succeeded, so the name is a C string within the buffer.
                let name = unsafe { std::ffi::CStr::from_ptr(entry.pw_name) };
                let name = name.to_string_lossy().into_owned();
                return Ok(Some(User { name, uid: entry.pw_uid, gid: entry.pw_gid }));
            }
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// The number of the group of this name, if there is one.
///
/// # Errors
/// When the database cannot be read.
pub fn group_named(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let mut buffer: Vec<u8> = vec![0; ENTRY_BYTES];
    loop {
        // SAFETY: an all-zero group (null pointers) is a valid place to write to.
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        let (place, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: as in `user_named`.
        let result = unsafe {
            libc::getgrnam_r(name.as_ptr(), &raw mut entry, place, length, &raw mut found)
        };
        match result {
            libc::ERANGE if buffer.len() < ENTRY_BYTES_MAX => buffer.resize(buffer.len() * 2, 0),
            0 | libc::ENOENT | libc::ESRCH if found.is_null() => return Ok(None),
            0 => return Ok(Some(entry.gr_gid)),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// All groups of the user, `gid` among them.
///
/// # Errors
/// When the user's name holds a NUL, or it is in more groups than the kernel takes.
pub fn groups_of(name: &str, gid: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(name).map_err(io::Error::other)?;
    let mut groups: Vec<u32> = vec![0; 32];
    loop {
        let mut count = i32::try_from(groups.len()).map_err(io::Error::other)?;
        // SAFETY: the name is a C string, and the list is as long as the count says.
        let found =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        if found >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return Ok(groups);
        }
        if groups.len() >= GROUPS_MAX {
            return Err(io::Error::other("the user is in too many groups"));
        }
        groups.resize(groups.len() * 2, 0);
    }
}

/// Makes this process another user's, for good: first the groups, then the group, then the user.
/// The process has to have one thread. Whoever asked to be told of, or killed at, the parent's death has to
/// ask again.
///
/// # Errors
/// When this process may not. What was changed by then stays changed: the process should end.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the list is as long as said.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: takes plain numbers.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: as above.
    check(unsafe { libc::setresuid(uid, uid, uid) })
}

/// Whether this process may become any user.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid() == Uid::ROOT
}

/// The user and group that this process acts as.
#[must_use]
pub fn current() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number_and_nobody_else_by_a_name_nobody_has() {
        let root = user_named("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(user_numbered(0).unwrap(), Some(root));
        assert_eq!(user_named("no-such-user").unwrap(), None);
        assert_eq!(user_named("nul\0").unwrap(), None);
        assert_eq!(group_named("root").unwrap(), Some(0));
        assert_eq!(group_named("no-such-group").unwrap(), None);
        assert!(groups_of("root", 0).unwrap().contains(&0));
    }
}
