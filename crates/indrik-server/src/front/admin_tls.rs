//! TLS of the admin listener: the same as that of the application's addresses, with a certificate of its own.

use indrik_core::settings::Config;
use tokio_rustls::TlsAcceptor;

use super::conn::tls::{ClientCertificate, Tls, TlsError, TlsFiles};

/// TLS as the admin listener's connections use it.
pub(crate) struct AdminTls(Tls);

impl AdminTls {
    /// Reads the files of the settings, if there are any.
    ///
    /// # Errors
    /// When one cannot be read, or the key does not belong to the certificate.
    pub(crate) fn load(config: &Config) -> Result<Option<Self>, TlsError> {
        let Some(certificate) = config.admin_certfile.clone() else { return Ok(None) };
        let files = TlsFiles {
            settings: ["admin_certfile", "admin_keyfile"],
            key: config.admin_keyfile.clone().unwrap_or_else(|| certificate.clone()),
            certificate,
            client_authorities: None,
            client_certificate: ClientCertificate::NotAsked,
            protocols: vec![b"http/1.1".to_vec()],
        };
        Tls::load(files).map(|tls| Some(Self(tls)))
    }

    /// What takes connections, with the certificate in use.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.0.acceptor()
    }

    /// Looks whether the files have changed, and reads them if so. True: there is a new certificate. Blocks as long as
    /// the disk takes.
    ///
    /// # Errors
    /// As [`Self::load`], once for each change; what was in use stays.
    pub(crate) fn look_again(&self) -> Result<bool, TlsError> {
        self.0.look_again()
    }
}
