//! The abstract address of a server's control socket, made so that no two servers share one and
//! that a client can make it from a process number alone.
//!
//! `indrik/USER/NAMESPACE/PID`, after the leading zero byte. Abstract names belong to the network
//! namespace, process numbers to the process namespace; containers may share one and not the other,
//! so the name carries the latter's number as well. Anybody may take a name: both sides look at who
//! is at the other end.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::SocketAddr;

const PREFIX: &str = "indrik";
/// Appended to the name of the socket beside it that speaks HTTP.
const ADMIN: &str = "admin";
/// What the kernel shows in place of the leading zero byte.
const SHOWN_ZERO: char = '@';
/// The kernel's flag of a socket that listens, in `/proc/net/unix`.
const LISTENS: &str = "00010000";

/// The address of the server with this process number, run by this user.
pub(super) fn address(user: u32, pid: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name(user, namespace()?, pid))
}

/// The address of that server's admin listener for its own user.
pub(super) fn admin_address(user: u32, pid: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("{}/{ADMIN}", name(user, namespace()?, pid)))
}

/// How that is shown to people.
pub(super) fn admin_shown(user: u32, pid: u32) -> String {
    format!("{}/{ADMIN}", shown(user, pid))
}

/// How it is shown to people.
pub(super) fn shown(user: u32, pid: u32) -> String {
    namespace().map_or_else(
        |_| format!("{SHOWN_ZERO}{PREFIX}"),
        |namespace| format!("{SHOWN_ZERO}{}", name(user, namespace, pid)),
    )
}

fn name(user: u32, namespace: u64, pid: u32) -> String {
    format!("{PREFIX}/{user}/{namespace}/{pid}")
}

/// The number of this process's process namespace.
fn namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

/// Servers that run in this process namespace: their user and process number. Only the user's own
/// unless `user` is `None`.
pub(super) fn running(user: Option<u32>) -> io::Result<Vec<(u32, u32)>> {
    let namespace = namespace()?;
    let table = fs::read("/proc/net/unix")?;
    let mut found = listed(&String::from_utf8_lossy(&table), namespace);
    found.retain(|(owner, _)| user.is_none_or(|user| user == *owner));
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn listed(table: &str, namespace: u64) -> Vec<(u32, u32)> {
    table.lines().filter_map(|line| listening(line, namespace)).collect()
}

/// A line: number, references, protocol, flags, type, state, inode, path.
fn listening(line: &str, namespace: u64) -> Option<(u32, u32)> {
    let mut fields = line.split_whitespace();
    (fields.nth(3)? == LISTENS).then_some(())?;
    let mut parts = fields.nth(3)?.strip_prefix(SHOWN_ZERO)?.split('/');
    (parts.next()? == PREFIX).then_some(())?;
    let user = parts.next()?.parse().ok()?;
    (parts.next()?.parse::<u64>().ok()? == namespace).then_some(())?;
    let pid = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((user, pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_with_our_kind_of_name_are_found() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 100 @indrik/1000/77/4711\n\
             0000000000000000: 00000003 00000000 00000000 0001 03 101 @indrik/1000/77/4712\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 102 @indrik/1000/78/4713\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 103 /run/indrik/1000/77/1\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 104 @indrik/1000/77/1/2\n\
             0000000000000000: 00000002 00000000 00010000 0001 01 105\n";
        assert_eq!(listed(table, 77), [(1000, 4711)]);
    }

    #[test]
    fn a_socket_with_the_name_is_found_while_it_listens() {
        let (user, pid) = (4_000_000_123, std::process::id());
        let listener = std::os::unix::net::UnixListener::bind_addr(&address(user, pid).unwrap());
        assert_eq!(running(Some(user)).unwrap(), [(user, pid)]);
        drop(listener);
        assert_eq!(running(Some(user)).unwrap(), []);
    }
}
