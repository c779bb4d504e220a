//! Asking a running server's admin listener over the socket of its own user.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use serde_json::Value as Json;

use super::client::{Kind, Trouble};
use super::name;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// The longest answer taken.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Asks the server with this process number; status and value of its answer.
///
/// # Errors
/// When it has no such listener, or does not answer.
pub fn ask(
    pid: u32,
    method: &str,
    path: &str,
    body: Option<&Json>,
) -> Result<(u16, Json), Trouble> {
    exchange(pid, method, path, body).map_err(|error| Trouble {
        what: format!("cannot ask the admin listener of server {pid}: {error}"),
        hint: "run this as the server's user or as root, and see that control_socket is not switched off"
            .to_owned(),
        kind: Kind::Silent,
    })
}

fn exchange(pid: u32, method: &str, path: &str, body: Option<&Json>) -> io::Result<(u16, Json)> {
    let mut stream = connect(pid)?;
    let body = body.map(ToString::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    read(&answer)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its answer cannot be read"))
}

/// Anybody may listen under the name: whoever does must be who it says, and ourselves or root.
fn connect(pid: u32) -> io::Result<UnixStream> {
    let running = name::running(None)?;
    let user = running.into_iter().find(|(_, found)| *found == pid).map(|(user, _)| user);
    let user = user.ok_or(io::ErrorKind::NotFound)?;
    let stream = UnixStream::connect_addr(&name::admin_address(user, pid)?)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    let owner = socket_peercred(&stream)?.uid;
    let ours = rustix::process::geteuid();
    let is_trusted = owner.as_raw() == user && (owner == ours || ours.is_root() || owner.is_root());
    if is_trusted { Ok(stream) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Status and value; the listener closes the connection behind an answer of known length.
fn read(answer: &[u8]) -> Option<(u16, Json)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, serde_json::from_slice(answer.get(end + 4..)?).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_value() {
        let answer = b"HTTP/1.1 409 Conflict\r\ncontent-length: 8\r\n\r\n{\"a\": 1}";
        assert_eq!(read(answer), Some((409, json!({"a": 1}))));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(read(b"nonsense"), None);
    }
}
