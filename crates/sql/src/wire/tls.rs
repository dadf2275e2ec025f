//! TLS: the server's certificate and key, and what SCRAM binds a login to (tls-server-end-point, RFC 5929).

use quiver_base::{Error, Result, SqlState};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Where certificate and key are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and those that lead to its authority, as PEM.
    pub cert: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// What encrypts connections.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// The hash of the certificate that clients bind a login to; `None` for signatures for which nobody has defined one.
    pub(super) end_point: Option<Vec<u8>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("end_point", &self.end_point.is_some()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads both files and checks that they belong together.
    pub(super) fn load(files: &TlsFiles) -> Result<Tls> {
        let chain = certificates(&files.cert)?;
        let end_point = chain.first().and_then(|certificate| end_point(certificate));
        let key = private_key(&files.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|cause| bad("could not set up TLS", &cause))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|cause| {
                let what = format!(
                    "certificate \"{}\" and private key \"{}\" cannot be used together",
                    files.cert.display(),
                    files.key.display()
                );
                bad(&what, &cause)
            })?;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), end_point })
    }
}

fn bad(what: &str, cause: &dyn std::fmt::Display) -> Error {
    Error::new(SqlState::CONFIG_FILE_ERROR, format!("{what}: {cause}"))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let what = || format!("could not load server certificate file \"{}\"", path.display());
    let chain: std::result::Result<Vec<_>, pem::Error> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match chain {
        Ok(chain) if chain.is_empty() => Err(bad(&what(), &"it holds no certificate")),
        Ok(chain) => Ok(chain),
        Err(cause) => Err(bad(&what(), &cause)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let what = || format!("could not load private key file \"{}\"", path.display());
    let metadata = std::fs::metadata(path).map_err(|cause| bad(&what(), &cause))?;
    refuse_readable_by_others(path, &metadata)?;
    PrivateKeyDer::from_pem_file(path).map_err(|cause| bad(&what(), &cause))
}

/// As in PostgreSQL: a key of this user is for this user only, a key of root may be readable for a group.
#[cfg(unix)]
fn refuse_readable_by_others(path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let forbidden = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    if metadata.mode() & forbidden == 0 {
        return Ok(());
    }
    let message = format!("private key file \"{}\" has group or world access", path.display());
    Err(Error::new(SqlState::CONFIG_FILE_ERROR, message)
        .with_hint("Set its permissions to u=rw (0600), or to u=rw,g=r (0640) if it belongs to root."))
}

#[cfg(not(unix))]
fn refuse_readable_by_others(_: &Path, _: &std::fs::Metadata) -> Result<()> {
    Ok(())
}

/// The certificate's hash, by the hash function of its signature; SHA-256 in place of MD5 and SHA-1.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: [u8; 6] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    let (_, certificate_fields, _) = der_item(certificate)?;
    let (_, _, after_body) = der_item(certificate_fields)?;
    let (_, algorithm, _) = der_item(after_body)?;
    let (_, oid, _) = der_item(algorithm)?;
    let is = |family: &[u8], rest: &[u8]| oid.strip_prefix(family) == Some(rest);
    if [4, 5, 11].iter().any(|last| is(&RSA, &[*last])) || is(&ECDSA, &[1]) || is(&ECDSA, &[3, 2]) {
        Some(Sha256::digest(certificate).to_vec())
    } else if is(&RSA, &[12]) || is(&ECDSA, &[3, 3]) {
        Some(Sha384::digest(certificate).to_vec())
    } else if is(&RSA, &[13]) || is(&ECDSA, &[3, 4]) {
        Some(Sha512::digest(certificate).to_vec())
    } else {
        None
    }
}

/// Tag, content and what follows of the first item of a DER encoding.
fn der_item(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    /// A certificate as far as `end_point` looks: a body, then a signature algorithm.
    fn certificate(oid: &[u8]) -> Vec<u8> {
        let item = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let algorithm = item(0x30, &item(6, oid));
        item(0x30, &[item(0x30, b"body"), algorithm, item(3, b"signature")].concat())
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let rsa = |last| certificate(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last]);
        let lengths = [(4, 32), (5, 32), (11, 32), (12, 48), (13, 64)];
        for (last, length) in lengths {
            assert_eq!(end_point(&rsa(last)).unwrap().len(), length, "{last}");
        }
        // RSASSA-PSS names its hash elsewhere, Ed25519 has none.
        assert_eq!(end_point(&rsa(10)), None);
        assert_eq!(end_point(&certificate(&[0x2b, 0x65, 0x70])), None);
        assert_eq!(end_point(&certificate(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 3, 3])).unwrap().len(), 48);
    }

    #[test]
    fn garbage_has_no_end_point() {
        let whole = certificate(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 11]);
        for length in 0..whole.len() - 1 {
            assert_eq!(end_point(&whole[..length]), None, "{length}");
        }
        assert_eq!(end_point(&[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]), None);
    }
}
