//! A WebSocket echo server on the protocol engine alone: for conformance suites, and to measure the
//! engine without the rest of the server.
//!
//! `cargo run --example websocket_echo [ADDRESS]` prints the address it listens on.

#![expect(clippy::print_stdout, reason = "it tells the user where it listens")]

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use indrik_server::front::websocket::negotiation::DeflatePolicy;
use indrik_server::front::websocket::{
    Application, CloseFrame, Command, Connection, Handshake, Message, SessionLimits, session,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of a request.
const FIELDS_MAX: usize = 64;
/// Echoes that wait for the socket before no more messages are taken.
const ECHOES_MAX: usize = 4;
/// Bytes of a message: Autobahn's largest has 16 MiB.
const MESSAGE_SIZE_MAX: usize = 16 * 1024 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A broken client is not this example's concern.
            let _ = serve(socket).await;
        });
    }
}

async fn serve(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut head = Vec::new();
    let (method, headers, head_len) = loop {
        if let Some(request) = parse(&head)? {
            break request;
        }
        if head.len() > HEAD_BYTES_MAX || socket.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    let policy = DeflatePolicy::default();
    let handshake = match Handshake::read(&method, Version::HTTP_11, &headers, Some(&policy)) {
        Ok(handshake) => handshake,
        Err(bad) => {
            let response = bad.response();
            let body = *response.body();
            let mut answer = write_head(&response.map(drop));
            answer.extend_from_slice(
                format!("content-length: {}\r\n\r\n{body}", body.len()).as_bytes(),
            );
            return socket.write_all(&answer).await;
        }
    };
    let mut extra = HeaderMap::new();
    extra.insert("server", HeaderValue::from_static("indrik"));
    let accepted = handshake.response(None, extra).map_err(io::Error::other)?;
    let mut answer = write_head(&accepted);
    answer.extend_from_slice(b"\r\n");
    socket.write_all(&answer).await?;
    let connection = Connection::new(MESSAGE_SIZE_MAX, handshake.deflate);
    let echo = Echo::default();
    session::run(socket, connection, &head[head_len..], echo, SessionLimits::default()).await;
    Ok(())
}

fn parse(head: &[u8]) -> io::Result<Option<(Method, HeaderMap, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(len) = request.parse(head).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let method = request.method.unwrap_or_default().parse().map_err(io::Error::other)?;
    let mut headers = HeaderMap::new();
    for field in request.headers.iter() {
        let name: HeaderName = field.name.parse().map_err(io::Error::other)?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(io::Error::other)?);
    }
    Ok(Some((method, headers, len)))
}

fn write_head(response: &http::Response<()>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head
}

/// Sends every message back, and says that it has finished once it knows of the end.
#[derive(Default)]
struct Echo {
    echoes: VecDeque<Message>,
    over: bool,
    waker: Option<Waker>,
}

impl Application for Echo {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.echoes.len() < ECHOES_MAX {
            return Poll::Ready(());
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn deliver(&mut self, message: Message) {
        self.echoes.push_back(message);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn disconnected(&mut self, _close: &CloseFrame) {
        self.over = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Command> {
        match self.echoes.pop_front() {
            Some(message) => Poll::Ready(Command::Send(message.into())),
            None if self.over => Poll::Ready(Command::Finished),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
