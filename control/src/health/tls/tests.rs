//! Servers with certificates of their own making, and what a probe says of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{Acceptor, ServerConnection};
use rustls::{ServerConfig, StreamOwned};
use tempfile::TempDir;

use crate::health::http::Requests;
use crate::health::{block_on, way_to};
use crate::model::{Http, HttpVersion, Request, Tls, Verify};

const LONG: Duration = Duration::from_secs(10);
const ANY: Tls = Tls { server_name: None, verify: None };

/// An authority, and a file with its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authority.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// What a server needs to be `names` from `years.0` until `years.1`.
    fn certify(&self, names: &[&str], years: (i32, i32)) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }

    fn verify(&self, server_name: Option<&str>, name: Option<&str>) -> Tls {
        Tls {
            server_name: server_name.map(str::to_owned),
            verify: Some(Verify { authorities: Some(self.file()), name: name.map(str::to_owned) }),
        }
    }
}

/// Serves one connection, and returns the name that was asked for.
fn serve(config: ServerConfig) -> (SocketAddr, JoinHandle<Option<String>>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap();
    let serve = move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut acceptor = Acceptor::default();
        let accepted = loop {
            // It may never begin.
            if acceptor.read_tls(&mut stream).unwrap_or(0) == 0 {
                return None;
            }
            if let Some(accepted) = acceptor.accept().unwrap() {
                break accepted;
            }
        };
        let name = accepted.client_hello().server_name().map(str::to_owned);
        let connection: ServerConnection = accepted.into_connection(config.into()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        // Neither works if the check does not like the certificate. It closes without close_notify.
        if stream.read(&mut [0; 1000]).is_ok() {
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").unwrap();
        }
        name
    };
    (to, std::thread::spawn(serve))
}

fn probe(to: SocketAddr, tls: Tls) -> String {
    // md5sum of "hello".
    let digest = 0x5d41_402a_bc4b_2a76_b971_9d91_1017_c592u128.to_be_bytes();
    let request = Request {
        path: "/".into(),
        host: None,
        status: vec![(200, 200)],
        digest: Some(digest),
        pattern: None,
    };
    let http = Http {
        tls: Some(tls),
        version: HttpVersion::default(),
        host: None,
        requests: vec![request],
        fast_recovery: false,
    };
    let result = block_on(Requests::new(&http, to).probe(&way_to(to), 0, LONG));
    result.map_or_else(|failure| failure.to_string(), |()| "up".into())
}

fn result(config: ServerConfig, tls: Tls) -> String {
    let (to, served) = serve(config);
    let result = probe(to, tls);
    served.join().unwrap();
    result
}

#[test]
fn without_verification_any_certificate_will_do() {
    let authority = Authority::new("one");
    assert_eq!(result(authority.certify(&["a.example"], (2000, 2001)), ANY), "up");
}

#[test]
fn with_verification_it_must_be_of_the_authority_for_the_name_and_in_force() {
    let authority = Authority::new("one");
    let good = || authority.certify(&["a.example"], (2000, 3000));
    let a_example = || authority.verify(Some("a.example"), None);
    assert_eq!(result(good(), a_example()), "up");
    assert_eq!(result(good(), authority.verify(None, Some("a.example"))), "up");
    assert_eq!(result(good(), authority.verify(Some("b.example"), Some("a.example"))), "up");
    assert_eq!(result(authority.certify(&["127.0.0.1"], (2000, 3000)), authority.verify(None, None)), "up");

    let expired = authority.certify(&["a.example"], (2000, 2001));
    assert_eq!(result(expired, a_example()), "its certificate has expired");
    let early = authority.certify(&["a.example"], (2999, 3000));
    assert_eq!(result(early, a_example()), "its certificate is not valid yet");
    let other = authority.certify(&["b.example"], (2000, 3000));
    let said = result(other, a_example());
    assert!(said.starts_with("its certificate is for another name: "), "{said}");
    assert!(said.contains("b.example") && said.ends_with("expected a.example"), "{said}");
    let stranger = Authority::new("two").certify(&["a.example"], (2000, 3000));
    assert_eq!(result(stranger, a_example()), "its certificate is of an unknown issuer");
    let namesake = Authority::new("one").certify(&["a.example"], (2000, 3000));
    assert_eq!(result(namesake, a_example()), "its certificate is not signed with the key of its authority");
}

#[test]
fn a_name_is_asked_for_only_if_there_is_one() {
    let authority = Authority::new("one");
    let asked = |tls| {
        let (to, served) = serve(authority.certify(&["a.example"], (2000, 3000)));
        assert_eq!(probe(to, tls), "up");
        served.join().unwrap()
    };
    assert_eq!(asked(ANY), None);
    assert_eq!(asked(authority.verify(None, Some("a.example"))), None);
    let named = Tls { server_name: Some("b.example".into()), verify: None };
    assert_eq!(asked(named), Some("b.example".into()));
}

#[test]
fn authorities_that_cannot_be_read_are_the_directors_fault() {
    let authority = Authority::new("one");
    let tls = authority.verify(None, None);
    std::fs::write(authority.file(), "nothing").unwrap();
    let said = result(authority.certify(&["a.example"], (2000, 3000)), tls.clone());
    assert!(said.starts_with("the director could not probe: "), "{said}");
    assert!(said.ends_with("it has no certificate of an authority in it"), "{said}");
    std::fs::remove_file(authority.file()).unwrap();
    let said = result(authority.certify(&["a.example"], (2000, 3000)), tls);
    assert!(said.starts_with("the director could not probe: "), "{said}");
}

#[test]
fn what_is_no_tls_is_said_to_be_none() {
    let serves = |answer: &'static [u8]| {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _): (TcpStream, _) = server.accept().unwrap();
            // The beginning of a record, and all that has come of it.
            assert!(stream.read(&mut [0; 1000]).unwrap() > 5);
            stream.write_all(answer).unwrap();
        });
        let said = probe(to, ANY);
        served.join().unwrap();
        said
    };
    assert_eq!(serves(b"HTTP/1.0 400 Bad Request\r\n\r\n"), "the server does not speak TLS");
    assert_eq!(serves(b""), "the connection was closed during the TLS handshake");
    // Alert: handshake_failure.
    let said = serves(&[21, 3, 3, 0, 2, 2, 40]);
    assert_eq!(said, "the server and the check have no version of TLS or cipher in common (TLS 1.2 or 1.3)");
}
