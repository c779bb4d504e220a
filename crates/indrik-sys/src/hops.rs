//! From how far away packets of a TCP socket may come.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{IP_MINTTL, IPPROTO_IP, IPPROTO_IPV6, IPV6_MINHOPCOUNT, c_int, socklen_t};
use rustix::net::{AddressFamily, getsockname};

/// Packets with fewer than `least` hops left are dropped as if they had never come (`IP_MINTTL`,
/// `IPV6_MINHOPCOUNT`); 0 takes all.
///
/// A listening socket drops the first packet of a connection that way. The last packet of a handshake
/// that is under way still counts; the connection it makes has the listening socket's limit.
///
/// # Errors
/// When this is no socket of IPv4 or IPv6.
pub fn set_least(socket: impl AsFd, least: u8) -> io::Result<()> {
    let socket = socket.as_fd();
    match getsockname(socket)?.address_family() {
        AddressFamily::INET => set(socket, IPPROTO_IP, IP_MINTTL, least),
        AddressFamily::INET6 => {
            set(socket, IPPROTO_IPV6, IPV6_MINHOPCOUNT, least)?;
            // For the IPv4 clients of a socket that takes both.
            set(socket, IPPROTO_IP, IP_MINTTL, least)
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn set(socket: BorrowedFd<'_>, level: c_int, option: c_int, least: u8) -> io::Result<()> {
    let value = c_int::from(least);
    let len = socklen_t::try_from(size_of::<c_int>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the time of the borrow, and `value` has `len` bytes.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_listening_socket_takes_no_new_connection_and_those_in_its_queue_are_there() {
        for (bind, hosts) in
            [("127.0.0.1:0", &["127.0.0.1"][..]), ("[::]:0", &["127.0.0.1", "::1"])]
        {
            let listener = match TcpListener::bind(bind) {
                // Where there is no IPv6.
                Err(_) if bind.starts_with('[') => continue,
                bound => bound.unwrap(),
            };
            let port = listener.local_addr().unwrap().port();
            let queued: Vec<TcpStream> =
                hosts.iter().map(|host| TcpStream::connect((*host, port)).unwrap()).collect();
            set_least(&listener, 255).unwrap();
            for host in hosts {
                let address = format!("{host}:{port}").replace("::1", "[::1]").parse().unwrap();
                let refused = TcpStream::connect_timeout(&address, Duration::from_millis(50));
                assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::TimedOut, "{address}");
            }
            listener.set_nonblocking(true).unwrap();
            for _ in &queued {
                let (accepted, _) = listener.accept().unwrap();
                set_least(&accepted, 0).unwrap();
            }
            assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn another_socket_is_an_error() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(set_least(&socket, 1).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
