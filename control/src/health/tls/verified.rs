//! A certificate that must be of a known authority and for a given name, which need not be the one asked for (SNI).
//!
//! The authorities of a file are read once for all checks that name it, and kept as long as one of them runs: the
//! system's are some hundred KiB.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The authorities of the system, where Debian and most others have them.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a certificate is measured by.
#[derive(Debug)]
pub(super) struct Verified {
    authorities: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl Verified {
    /// Reads the authorities, which may block.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate in it; in words.
    pub(super) fn new(authorities: Option<&Path>, name: ServerName<'static>) -> Result<Verified, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let path = authorities.unwrap_or(Path::new(SYSTEM));
        let verifier = WebPkiServerVerifier::builder_with_provider(store(path)?, provider).build();
        let authorities = verifier.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Verified { authorities, name })
    }
}

/// The authorities of a file.
fn store(path: &Path) -> Result<Arc<RootCertStore>, String> {
    static STORES: LazyLock<Mutex<HashMap<PathBuf, Weak<RootCertStore>>>> = LazyLock::new(Mutex::default);
    let mut stores = STORES.lock().expect("no holder of this lock panics");
    if let Some(store) = stores.get(path).and_then(Weak::upgrade) {
        return Ok(store);
    }
    let said = |error: rustls::pki_types::pem::Error| format!("{}: {error}", path.display());
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(said)? {
        // One that rustls does not understand is no reason to do without the others.
        store.add_parsable_certificates([certificate.map_err(said)?]);
    }
    if store.is_empty() {
        return Err(format!("{}: it has no certificate of an authority in it", path.display()));
    }
    let store = Arc::new(store);
    stores.retain(|_, store| store.strong_count() > 0);
    stores.insert(path.to_owned(), Arc::downgrade(&store));
    Ok(store)
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _asked_for: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.authorities.verify_server_cert(certificate, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
