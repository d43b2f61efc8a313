//! TLS as used in grids: X.509 proxies as client certificates, and authority folders that also contain other files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use crate::error::{Error, Kind, Result};

/// Presents one certificate to every server. This is a resolver because rustls itself rejects chains with the critical
/// extension of proxies (RFC 3820, section 3.8).
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesClientCert for Only {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Creates a TLS configuration from a file or folder of trusted authorities, by default those of the system, and the
/// files of a client certificate and its key.
///
/// # Errors
/// Files that are missing or contain no certificate or key; `Kind::Denied` for an expired certificate.
pub(crate) fn config(authorities: Option<&Path>, certificate: Option<(&Path, &Path)>) -> Result<ClientConfig> {
    let roots = roots(authorities)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::bug(format!("TLS: {e}")))?
        .with_root_certificates(roots);
    Ok(match certificate {
        Some((chain, key)) => builder.with_client_cert_resolver(Arc::new(Only(Arc::new(certified(chain, key)?)))),
        None => builder.with_no_client_auth(),
    })
}

fn roots(given: Option<&Path>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let Some(path) = given else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    let named = |e: std::io::Error| Error::from(e).context(format_args!("trusted authorities '{}'", path.display()));
    let files: Vec<PathBuf> = match std::fs::metadata(path).map_err(named)?.is_dir() {
        true => std::fs::read_dir(path).map_err(named)?.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        false => vec![path.to_owned()],
    };
    for file in files {
        // Such folders also contain revocation lists, policies and unreadable files.
        let Ok(bytes) = std::fs::read(file) else { continue };
        store.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
    }
    if store.is_empty() {
        return Err(Error::invalid(format!("trusted authorities '{}' hold no certificate", path.display())));
    }
    Ok(store)
}

fn certified(chain: &Path, key: &Path) -> Result<CertifiedKey> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(Kind::Denied, format!("client certificate '{}' does not exist", path.display()))
            }
            _ => Error::from(e).context(format_args!("client certificate '{}'", path.display())),
        })
    };
    let text = read(chain)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text).flatten().collect();
    if certificates.is_empty() {
        return Err(Error::invalid(format!("file '{}' holds no certificate", chain.display())));
    }
    for certificate in &certificates {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { continue };
        if !parsed.validity().is_valid() {
            let until = parsed.validity().not_after.to_datetime();
            let message = format!("certificate '{}' was valid until {until}: renew it", chain.display());
            return Err(Error::new(Kind::Denied, message));
        }
    }
    let key = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| Error::invalid(format!("file '{}' holds no private key", key.display())))?;
    let key = ring::sign::any_supported_type(&key)
        .map_err(|e| Error::invalid(format!("the private key of '{}': {e}", chain.display())))?;
    Ok(CertifiedKey::new(certificates, key))
}
