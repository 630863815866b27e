//! TLS 1.2 and 1.3. Whom to trust is this system's list of authorities, and whom the caller adds.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
};

use super::Trust;
use super::connection::{Stream, Wire};
use super::suites::provider;
use crate::error::{Context, Error, Kind, Result};

/// Where systems keep their list, the first that is there.
const AUTHORITIES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Seconds since 1970 that have surely passed when this lath runs: 2026-11-01, or a later
/// SOURCE_DATE_EPOCH of its build. A device without a battery begins in 1970 (or 2000), when no
/// certificate is valid yet.
const MADE: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    None => RELEASED,
    Some(text) => later(RELEASED, text.as_bytes()),
};
const RELEASED: u64 = 1_793_491_200;

const fn later(least: u64, mut digits: &[u8]) -> u64 {
    let mut number = 0u64;
    while let [digit @ b'0'..=b'9', rest @ ..] = digits {
        number = number.saturating_mul(10).saturating_add((*digit - b'0') as u64);
        digits = rest;
    }
    if number > least { number } else { least }
}

/// What all connections have in common.
#[derive(Debug)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the list of authorities, and those that are trusted besides.
    pub fn new(trust: &Trust) -> Result<Tls> {
        if clock() < MADE {
            log::warn!("the clock of this device is wrong: certificates are checked for {MADE}");
        }
        let provider = Arc::new(provider());
        let known = match trust.is_blind {
            true => None,
            false => Some(authorities(&trust.also)?),
        };
        let algorithms = provider.signature_verification_algorithms;
        let verifier = Arc::new(Verifier { known, algorithms, passed: trust.passed });
        let config = ClientConfig::builder_with_details(provider, Arc::new(Clock))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?;
        let config = config.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &trust.own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                own(certificate, key, |chain, key| config.with_client_auth_cert(chain, key))?
            }
        };
        // Connections are kept; a second one to the same server is rare.
        config.resumption = Resumption::disabled();
        Ok(Tls(Arc::new(config)))
    }

    /// Makes a connection a safe one to this host.
    pub fn wrap(&self, mut wire: Box<dyn Stream>, host: &str) -> Result<Box<dyn Stream>> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| Error::input(format!("{host:?} cannot have a certificate")))?;
        let connection = ClientConnection::new(self.0.clone(), name);
        let mut connection = connection.map_err(|error| failed(&error))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut wire).map_err(|error| told(error, host))?;
        }
        Ok(Box::new(Safe(StreamOwned::new(connection, wire))))
    }
}

struct Safe(StreamOwned<ClientConnection, Box<dyn Stream>>);

impl Stream for Safe {
    fn wire(&mut self) -> &mut Wire {
        self.0.sock.wire()
    }
}

impl Read for Safe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Safe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What docker's folder of certificates has for this: a chain and its key, in PEM.
fn own(
    certificate: &Path,
    key: &Path,
    take: impl FnOnce(
        Vec<CertificateDer<'static>>,
        PrivateKeyDer<'static>,
    ) -> Result<ClientConfig, rustls::Error>,
) -> Result<ClientConfig> {
    let text = std::fs::read(certificate).context(|| format!("read {certificate:?}"))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).flatten().collect();
    let text = std::fs::read(key).context(|| format!("read {key:?}"))?;
    let secret = PrivateKeyDer::from_pem_slice(&text);
    let done = secret.ok().filter(|_| !chain.is_empty()).map(|secret| take(chain, secret));
    match done {
        Some(Ok(config)) => Ok(config),
        _ => {
            Err(Error::input(format!("{certificate:?} and {key:?} are no certificate and its key"))
                .hint("both are PEM files, and the key has no password"))
        }
    }
}

/// Takes the certificates of those who are known, or anybody's, of the server that has its key.
/// Rustls's own verifier does the same with lists of what was taken back besides, which no system
/// has: 21 KB.
#[derive(Debug)]
struct Verifier {
    /// Nothing: for who has asked for that.
    known: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    passed: u64,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(known) = &self.known else { return Ok(ServerCertVerified::assertion()) };
        let certificate = ParsedCertificate::try_from(certificate)?;
        let all = self.algorithms.all;
        let at = |time| {
            verify_server_cert_signed_by_trust_anchor(&certificate, known, others, time, all)?;
            verify_server_name(&certificate, name)?;
            Ok(ServerCertVerified::assertion())
        };
        match at(now) {
            // A store that was written to later than now shows that the clock stands still. That
            // makes no certificate too old: a clock may have been wrong the other way as well.
            Err(rustls::Error::InvalidCertificate(cause))
                if is_early(&cause) && self.passed > now.as_secs() =>
            {
                log::warn!("the clock of this device is wrong: the store is newer than now");
                at(UnixTime::since_unix_epoch(Duration::from_secs(self.passed)))
            }
            done => done,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The system's clock, but never before lath was made.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(clock().max(MADE))))
    }
}

/// Whether the clock is past the day on which lath was made.
#[cfg(feature = "doctor")]
pub fn is_clock_set() -> bool {
    clock() > MADE
}

/// Whether there is a list of certificate authorities.
#[cfg(feature = "doctor")]
pub fn knows_authorities() -> bool {
    authorities(&[]).is_ok()
}

fn clock() -> u64 {
    u64::try_from(crate::sys::fs::now().0).unwrap_or(0)
}

/// SSL_CERT_FILE, as everywhere, else what the system has.
fn authorities(more: &[PathBuf]) -> Result<RootCertStore> {
    let hint = "install the package ca-certificates, or name a PEM file in SSL_CERT_FILE";
    let named = std::env::var_os("SSL_CERT_FILE").filter(|name| !name.is_empty());
    let system = match named {
        Some(name) => std::fs::read(&name).context(|| format!("read SSL_CERT_FILE {name:?}"))?,
        None => match AUTHORITIES.iter().find_map(|name| std::fs::read(name).ok()) {
            Some(text) => text,
            None if !more.is_empty() => Vec::new(),
            None => {
                let text = "this system has no list of certificate authorities";
                return Err(Error::not_found(text).hint(hint));
            }
        },
    };
    let mut roots = RootCertStore::empty();
    let mut add = |text: &[u8]| {
        // One that cannot be read is one less to trust, and no reason to trust none.
        for certificate in CertificateDer::pem_slice_iter(text).flatten() {
            let _ = roots.add(certificate);
        }
    };
    add(&system);
    for path in more {
        add(&std::fs::read(path).context(|| format!("read {path:?}"))?);
    }
    if roots.is_empty() {
        let text = "the list of certificate authorities has none that can be read";
        return Err(Error::input(text).hint(hint));
    }
    Ok(roots)
}

/// What went wrong while a connection was made safe.
fn told(error: io::Error, host: &str) -> Error {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(cause)) => untrusted(cause, host),
        Some(cause) => failed(cause),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::input("the server has ended the connection before it was a safe one")
                .hint("is it the port of an https server?")
        }
        None => error.into(),
    }
}

fn failed(cause: &rustls::Error) -> Error {
    Error::input(format!("TLS: {cause}"))
        .hint("is it the port of an https server, and does it know TLS 1.2 or 1.3?")
}

fn is_early(cause: &CertificateError) -> bool {
    use CertificateError as Cause;
    matches!(cause, Cause::NotValidYet | Cause::NotValidYetContext { .. })
}

fn untrusted(cause: &CertificateError, host: &str) -> Error {
    use CertificateError as Cause;
    let (why, hint) = match cause {
        Cause::Expired | Cause::ExpiredContext { .. } => {
            ("has expired", "the server needs a new one; is the clock of this device right?")
        }
        early if is_early(early) => ("is not valid yet", "is the clock of this device right?"),
        Cause::UnknownIssuer => (
            "is signed by an authority that this system does not know",
            "for one of your own, name its PEM file in SSL_CERT_FILE; else update ca-certificates",
        ),
        Cause::NotValidForName | Cause::NotValidForNameContext { .. } => {
            ("is for another name", "is the address right, and is this really the server?")
        }
        _ => ("is not valid", "is this really the server?"),
    };
    let error = Error::new(Kind::Denied, format!("the certificate of {host} {why}")).hint(hint);
    if clock() >= MADE {
        return error;
    }
    error.hint("the clock of this device stands before the day that lath was made: set it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_it_was_made_is_the_later_one() {
        assert_eq!(later(10, b"12"), 12);
        assert_eq!(later(10, b"9"), 10);
        assert_eq!(later(10, b""), 10);
        assert_eq!(later(10, b"12x"), 12);
        assert_eq!(later(10, b"99999999999999999999999"), u64::MAX);
    }
}
