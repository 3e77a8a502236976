//! TLS as a client: the web's certificate authorities, and those of the operator's own file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use fondaco_schemas::{HostName, Origin};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::connect::Stream;
use crate::error::Error;

/// A connector that trusts the web's authorities, and those in these PEM files.
pub(crate) fn connector(files: &[std::path::PathBuf]) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for file in files {
        add(&mut roots, file).map_err(|reason| Error::Roots { file: file.display().to_string(), reason })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|e| Error::Roots { file: "TLS".into(), reason: e.to_string() })?;
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let pem = std::fs::read(file).map_err(|e| e.to_string())?;
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| format!("it is no PEM: {e}"))?;
        roots.add(certificate).map_err(|e| e.to_string())?;
        found += 1;
    }
    if found == 0 { Err("write PEM, with BEGIN CERTIFICATE".into()) } else { Ok(()) }
}

/// Has the server prove that it is the host of `origin`.
pub(crate) async fn secure(
    tls: &TlsConnector,
    origin: &Origin,
    plain: Box<dyn Stream>,
) -> Result<Box<dyn Stream>, Error> {
    let name = match origin.host() {
        HostName::Address(address) => ServerName::from(address),
        HostName::Name(name) => ServerName::try_from(name.to_owned())
            .map_err(|e| Error::Tls { origin: origin.clone(), reason: e.to_string() })?,
    };
    match tls.connect(name, plain).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(explain(origin, &error)),
    }
}

fn explain(origin: &Origin, error: &io::Error) -> Error {
    let origin = origin.clone();
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => Error::Certificate { origin, reason: why.to_string() },
        Some(why) => Error::Tls { origin, reason: why.to_string() },
        None => Error::Tls { origin, reason: error.to_string() },
    }
}
