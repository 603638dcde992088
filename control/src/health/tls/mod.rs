//! TLS of the HTTP probe: TLS 1.2 and 1.3, a whole handshake each time, so that a server that can only resume is not
//! taken for a good one.
//!
//! Unless the check says what the certificate must be, any will do, as with keepalived. If it says so, failures are
//! told in the words of whoever has to renew the certificate.

mod unverified;
mod verified;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Failure;
use crate::model::Tls;
use unverified::Unverified;
use verified::Verified;

/// The client of one check.
pub(super) struct Client {
    tls: Tls,
    address: IpAddr,
    /// Made by the first probe: the authorities are in a file.
    config: OnceCell<Arc<ClientConfig>>,
}

impl Client {
    /// A client for the server at `address`.
    pub(super) fn new(tls: &Tls, address: IpAddr) -> Client {
        Client { tls: tls.clone(), address, config: OnceCell::new() }
    }

    /// The handshake. It takes as long as the server lets it.
    pub(super) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        let config = self.config.get_or_try_init(|| self.config()).await.map_err(here)?;
        let name = match &self.tls.server_name {
            Some(name) => server_name(name).map_err(here)?,
            None => self.address.into(),
        };
        TlsConnector::from(config.clone()).connect(name, stream).await.map_err(|error| words(&error))
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let verifier: Arc<dyn ServerCertVerifier> = match &self.tls.verify {
            None => Arc::new(Unverified),
            Some(verify) => {
                let name = match verify.name.as_ref().or(self.tls.server_name.as_ref()) {
                    Some(name) => server_name(name)?,
                    None => self.address.into(),
                };
                let authorities = verify.authorities.clone();
                let verified =
                    tokio::task::spawn_blocking(move || Verified::new(authorities.as_deref(), name));
                Arc::new(verified.await.map_err(|stopped| stopped.to_string())??)
            }
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.enable_sni = self.tls.server_name.is_some();
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("\"{name}\" is no name of a server"))
}

fn here(why: String) -> Failure {
    Failure::Inconclusive(io::Error::other(why))
}

/// Why there is no connection.
fn words(error: &io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let words = match tls {
        Some(rustls::Error::InvalidCertificate(error)) => return Failure::Wrong(certificate(error)),
        Some(rustls::Error::InvalidMessage(_)) => "the server does not speak TLS".to_owned(),
        Some(rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)) => {
            "the server does not know the name asked for (SNI)".to_owned()
        }
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            "the server wants a certificate of its client".to_owned()
        }
        Some(rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion,
        ))
        | Some(rustls::Error::PeerIncompatible(_)) => {
            "the server and the check have no version of TLS or cipher in common (TLS 1.2 or 1.3)".to_owned()
        }
        Some(error) => format!("the TLS handshake failed: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed during the TLS handshake".to_owned()
        }
        None => match error.raw_os_error() {
            Some(errno) => return io::Error::from_raw_os_error(errno).into(),
            None => format!("the TLS handshake failed: {error}"),
        },
    };
    Failure::Wrong(words)
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".into()
        }
        CertificateError::UnknownIssuer => "its certificate is of an unknown issuer".into(),
        CertificateError::BadSignature => {
            "its certificate is not signed with the key of its authority".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for another name: {}, expected {}",
            presented.join(", "),
            expected.to_str()
        ),
        CertificateError::NotValidForName => "its certificate is for another name".into(),
        CertificateError::Revoked => "its certificate is revoked".into(),
        error => format!("its certificate is not valid: {error}"),
    }
}

#[cfg(test)]
mod tests;
