//! One request to a collector or a webhook: a connection of its own each time, as there are seconds between two.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER,
    USER_AGENT,
};
use http::{HeaderMap, Method, Request};
use http_body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use indrik_core::trace::delivery;
use indrik_core::trace::endpoint::Endpoint;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::full::Full;
use crate::paths;

/// More of an answer is not read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Where systems have the authorities that they trust.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whom something is sent to, and how.
pub(crate) struct Target<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) gzip: bool,
    /// Authorities that are trusted instead of the system's.
    pub(crate) authorities: Option<&'a Path>,
    /// What says where those are.
    pub(crate) authorities_setting: &'static str,
}

/// What is needed for a request.
pub(crate) struct Client {
    endpoint: Endpoint,
    headers: HeaderMap,
    gzip: bool,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Makes it ready.
    ///
    /// # Errors
    /// What of the settings cannot be used, in one line.
    pub(crate) fn new(target: &Target<'_>) -> Result<Self, String> {
        let endpoint = target.endpoint.clone();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("indrik/", env!("CARGO_PKG_VERSION"))),
        );
        for (name, value) in target.headers {
            // What they hold is secret, and not repeated.
            let wrong = || format!("the header {name:?} for it cannot be sent");
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            headers.insert(header, HeaderValue::from_str(value).map_err(|_| wrong())?);
        }
        headers.insert(
            HOST,
            HeaderValue::from_str(&endpoint.authority()).map_err(|error| error.to_string())?,
        );
        if target.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let tls = match endpoint.secure {
            true => Some((connector(target)?, server_name(&endpoint)?)),
            false => None,
        };
        Ok(Self { endpoint, headers, gzip: target.gzip, tls })
    }

    /// Sends a body and reads what is said to it.
    ///
    /// # Errors
    /// Why there is no answer, in one line.
    pub(crate) async fn post(&self, body: &[u8]) -> Result<Answer, String> {
        let body = if self.gzip { compressed(body)? } else { Bytes::copy_from_slice(body) };
        let to = (self.endpoint.host.as_str(), self.endpoint.port);
        let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        match &self.tls {
            None => self.talk(stream, body).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.talk(stream.map_err(|error| error.to_string())?, body).await
            }
        }
    }

    async fn talk<S>(&self, stream: S, body: Bytes) -> Result<Answer, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let text = |error: hyper::Error| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
        // How it ends is told by what comes of the request.
        let _connection = Driven(tokio::spawn(async move { drop(connection.await) }));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        let path = if self.endpoint.path.is_empty() { "/" } else { &self.endpoint.path };
        *request.uri_mut() = path.parse().map_err(|_| "its path is none".to_owned())?;
        let length = request.body().size_hint().exact().unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        let answer = sender.send_request(request).await.map_err(text)?;
        let (head, body) = answer.into_parts();
        let after = head.headers.get(RETRY_AFTER);
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: after.and_then(|value| delivery::retry_after(value.as_bytes())),
            body: read(body).await,
        })
    }
}

/// A connection, for as long as somebody waits for its answer.
struct Driven(tokio::task::JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What there is of an answer's body, up to the limit. How it ends makes no difference.
async fn read(mut body: hyper::body::Incoming) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < ANSWER_BYTES_MAX {
        let next = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        let Some(Ok(frame)) = next else { break };
        if let Some(data) = frame.data_ref() {
            read.extend_from_slice(&data[..data.len().min(ANSWER_BYTES_MAX - read.len())]);
        }
    }
    read
}

fn compressed(body: &[u8]) -> Result<Bytes, String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).map_err(|error| error.to_string())?;
    encoder.finish().map(Bytes::from).map_err(|error| error.to_string())
}

fn server_name(endpoint: &Endpoint) -> Result<ServerName<'static>, String> {
    ServerName::try_from(endpoint.host.clone())
        .map_err(|_| format!("{:?} is not the name of a server", endpoint.host))
}

fn connector(target: &Target<'_>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match target.authorities {
        Some(path) => add(&mut roots, path)?,
        None => {
            let own = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
            let usual = AUTHORITIES.iter().map(std::path::PathBuf::from);
            let found = own.into_iter().chain(usual).find(|path| add(&mut roots, path).is_ok());
            if found.is_none() {
                let setting = target.authorities_setting;
                return Err(format!(
                    "this system has no certificates of authorities to know it by: set {setting}"
                ));
            }
        }
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Adds the authorities in a file.
fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let pem = paths::read(path).map_err(|error| wrong(error.to_string()))?;
    let read = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(read);
    if added == 0 { Err(wrong("has no certificate".to_owned())) } else { Ok(()) }
}
