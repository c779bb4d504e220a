//! TLS: the certificate with its key, and the handshake before a connection's first request.
//!
//! rustls does the work. The files are looked at again every few seconds, so a renewed certificate is
//! in use without a reload; one that cannot be read leaves the old one in use.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use std::time::{Duration, SystemTime};

use indrik_core::certificate::not_after;
use indrik_core::http1::TLS_HANDSHAKE;
use parking_lot::Mutex;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{RootCertStore, crypto};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::preamble::{Read, read_some};
use super::reaper::{Phase, Watch};
use super::stream::{Stream, TLS_SEND_BYTES_MAX};
use crate::front::account::{CONNECTION_BYTES, Charge};
use crate::front::metrics::{self, Handshake};

/// How often the files are looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Whether clients must show a certificate (Gunicorn's `cert_reqs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    /// They are not asked.
    NotAsked,
    /// They are asked; one that they show must be valid.
    Optional,
    /// Without a valid one there is no connection.
    Required,
}

/// Where the certificate lies, and what is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The settings that name certificate and key.
    pub(crate) settings: [&'static str; 2],
    /// PEM: the certificate, then those between it and the root (`certfile`).
    pub(crate) certificate: PathBuf,
    /// PEM: its key (`keyfile`); may be the same file.
    pub(crate) key: PathBuf,
    /// PEM: who may sign clients' certificates (`ca_certs`).
    pub(crate) client_authorities: Option<PathBuf>,
    /// What is asked of clients.
    pub(crate) client_certificate: ClientCertificate,
    /// The versions of HTTP, the best liked first, by their names in ALPN.
    pub(crate) protocols: Vec<Vec<u8>>,
}

/// Why TLS cannot be had: a setting, its file, and what is wrong with it.
#[derive(Debug)]
pub struct TlsError {
    setting: &'static str,
    problem: String,
    hint: &'static str,
}

impl TlsError {
    /// What to do about it.
    pub(crate) const fn hint(&self) -> &'static str {
        self.hint
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

impl std::error::Error for TlsError {}

/// TLS as the front's connections use it.
pub(crate) struct Tls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    acceptor: TlsAcceptor,
    /// When the certificate expires, in seconds since 1970, if that can be read.
    expires_at: Option<u64>,
    stamps: Stamps,
    /// Those that could not be read, which was told.
    failed: Option<Stamps>,
}

/// When each file was changed last, and its size.
type Stamps = [Option<(SystemTime, u64)>; 3];

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or the key does not belong to the certificate.
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let (acceptor, expires_at) = acceptor(&files)?;
        let loaded = Mutex::new(Loaded { acceptor, expires_at, stamps, failed: None });
        Ok(Self { files, loaded })
    }

    /// Looks whether the files have changed, and reads them if so. True: there is a new certificate.
    /// Blocks as long as the disk takes.
    ///
    /// # Errors
    /// As [`Self::load`], once for each change; what was in use stays.
    pub(crate) fn look_again(&self) -> Result<bool, TlsError> {
        let stamps = stamps(&self.files);
        if self.loaded.lock().stamps == stamps {
            return Ok(false);
        }
        let read = acceptor(&self.files);
        let mut loaded = self.loaded.lock();
        match read {
            Ok((acceptor, expires_at)) => {
                *loaded = Loaded { acceptor, expires_at, stamps, failed: None };
                Ok(true)
            }
            // It is tried again each time: there may have been no descriptor, or the disk was slow.
            Err(_) if loaded.failed == Some(stamps) => Ok(false),
            Err(error) => {
                loaded.failed = Some(stamps);
                Err(error)
            }
        }
    }

    /// What takes connections, with the certificate in use.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.loaded.lock().acceptor.clone()
    }

    /// When the certificate in use expires, in seconds since 1970.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        self.loaded.lock().expires_at
    }

    /// The handshake, from the client's first byte on.
    pub(crate) async fn begin(&self, mut stream: Stream, watch: &Watch) -> Begun {
        let mut first = Vec::new();
        if !matches!(read_some(&mut stream, watch, &mut first).await, Read::Some) {
            return Begun::Lost;
        }
        let is_handshake = first.first() == Some(&TLS_HANDSHAKE);
        let stream = Stream::Ahead(Box::new((first.into(), stream, 0)));
        if !is_handshake {
            return Begun::Plain(stream);
        }
        let acceptor = self.acceptor();
        watch.set(Phase::Handshake);
        match watch.unless_closed(charged(acceptor.accept(stream), watch)).await {
            Some(Ok(mut stream)) => {
                metrics::handshake(Handshake::Done);
                stream.get_mut().1.set_buffer_limit(Some(TLS_SEND_BYTES_MAX));
                Begun::Secured(Stream::Tls(Box::new(stream)))
            }
            Some(Err(_)) | None => {
                metrics::handshake(Handshake::Failed);
                Begun::Lost
            }
        }
    }
}

/// The handshake, charged for what the client sends: the library keeps messages of up to 64 KiB until they are
/// complete, in a buffer that doubles.
async fn charged(mut accept: Accept<Stream>, watch: &Watch) -> io::Result<TlsStream<Stream>> {
    let mut charge = Charge::of(watch.holder());
    poll_fn(|cx| {
        ready!(watch.holder().poll_room(CONNECTION_BYTES, cx));
        let poll = Pin::new(&mut accept).poll(cx);
        charge.set(2 * accept.get_ref().map_or(0, Stream::read_since));
        poll
    })
    .await
}

/// How a connection to a TLS port begins.
pub(crate) enum Begun {
    /// With a handshake; what comes now is encrypted.
    Secured(Stream),
    /// With something else: most likely plain HTTP.
    Plain(Stream),
    /// Not at all, or the handshake failed.
    Lost,
}

fn stamps(files: &TlsFiles) -> Stamps {
    let stamp = |path: &Path| {
        let path = path.to_owned();
        let meta = crate::paths::within(move || std::fs::metadata(path)).ok()?.ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    let authorities = files.client_authorities.as_deref().and_then(stamp);
    [stamp(&files.certificate), stamp(&files.key), authorities]
}

/// What takes connections, and when its certificate expires.
fn acceptor(files: &TlsFiles) -> Result<(TlsAcceptor, Option<u64>), TlsError> {
    let (certfile, keyfile) = (Named(files.settings[0], &files.certificate), files.named_key());
    let chain = certificates(certfile)?;
    let expires_at = chain.first().and_then(|certificate| not_after(certificate));
    let key = private_key(files)?;
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| certfile.wrong(&error, CERTIFICATE_HINT))?;
    let builder = match (files.client_certificate, &files.client_authorities) {
        (ClientCertificate::NotAsked, _) => builder.with_no_client_auth(),
        (asked, path) => builder.with_client_cert_verifier(verifier(asked, path, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError {
            setting: keyfile.0,
            problem: format!(
                "{} does not belong to the certificate in {} {}",
                keyfile.1.display(),
                certfile.0,
                certfile.1.display()
            ),
            hint: "name the key that the certificate was made for; certfile has the server's own \
                   certificate first, and those between it and the root behind it",
        },
        error => certfile.wrong(&error, CERTIFICATE_HINT),
    })?;
    config.alpn_protocols.clone_from(&files.protocols);
    Ok((TlsAcceptor::from(Arc::new(config)), expires_at))
}

fn verifier(
    asked: ClientCertificate,
    authorities: &Option<PathBuf>,
    provider: Arc<crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(path) = authorities else {
        return Err(TlsError {
            setting: "cert_reqs",
            problem: "asks clients for a certificate, but ca_certs does not say who may sign it"
                .to_owned(),
            hint: "set ca_certs (--ca-certs), or leave cert_reqs out",
        });
    };
    let ca_certs = Named("ca_certs", path);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_certs)? {
        roots.add(certificate).map_err(|error| ca_certs.wrong(&error, CERTIFICATE_HINT))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = match asked {
        ClientCertificate::Optional => verifier.allow_unauthenticated(),
        ClientCertificate::Required | ClientCertificate::NotAsked => verifier,
    };
    verifier.build().map_err(|error| ca_certs.wrong(&error, CERTIFICATE_HINT))
}

/// What to do about a file without the right certificates.
const CERTIFICATE_HINT: &str =
    "name a file in PEM form (-----BEGIN CERTIFICATE-----) that this user may read";

impl TlsFiles {
    /// The key, by the setting that names it.
    fn named_key(&self) -> Named<'_> {
        let [certfile, keyfile] = self.settings;
        Named(if self.key == self.certificate { certfile } else { keyfile }, &self.key)
    }
}

/// A setting and the file that it names.
#[derive(Clone, Copy)]
struct Named<'a>(&'static str, &'a Path);

impl Named<'_> {
    /// Read without a wait: a path that does not answer must not end the looking for a new certificate.
    fn text(self, hint: &'static str) -> Result<Vec<u8>, TlsError> {
        crate::paths::read(self.1)
            .map_err(|error| self.wrong(&format_args!("cannot be read: {error}"), hint))
    }

    fn wrong(self, problem: &dyn fmt::Display, hint: &'static str) -> TlsError {
        let Self(setting, path) = self;
        TlsError { setting, problem: format!("{}: {problem}", path.display()), hint }
    }

    fn fault(self, error: &pem::Error, what: &str, hint: &'static str) -> TlsError {
        match error {
            pem::Error::Io(error) => self.wrong(&format_args!("cannot be read: {error}"), hint),
            pem::Error::NoItemsFound => {
                self.wrong(&format_args!("has no {what} in PEM form"), hint)
            }
            error => self.wrong(&format_args!("is not PEM: {error}"), hint),
        }
    }
}

fn private_key(files: &TlsFiles) -> Result<PrivateKeyDer<'static>, TlsError> {
    const KEY: &str = "private key (not encrypted)";
    let (key, is_in_certfile) = (files.named_key(), files.key == files.certificate);
    let hint = match is_in_certfile {
        true => "set keyfile (--keyfile) to the key's file, or put the key into certfile as well",
        false => {
            "name a file with a key in PEM form (-----BEGIN PRIVATE KEY-----) that this user may read"
        }
    };
    let text = key.text(hint)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| key.fault(&error, KEY, hint))
}

fn certificates(file: Named<'_>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |error| file.fault(&error, "certificate", CERTIFICATE_HINT);
    let found = CertificateDer::pem_slice_iter(&file.text(CERTIFICATE_HINT)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(fault)?;
    if found.is_empty() {
        return Err(fault(pem::Error::NoItemsFound));
    }
    Ok(found)
}
