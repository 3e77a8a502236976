//! TLS 1.3 bound to the node's identity, as libp2p has it (its specification `tls/tls.md`): each side shows one certificate,
//! which it signed itself and in which the node's key signs the certificate's.
//!
//! libp2p's own upgrade prefers ChaCha20, which costs three times what AES does where the processor has instructions for
//! it, and leaves the order to nobody. Certificates are made and read by libp2p; here are the order of the ciphers and the
//! buffers.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;

use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use futures_util::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::tls::certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{CommonState, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use super::buffered::Buffered;

/// Bytes that wait encrypted for the socket, at most. They leave in one call of the system.
const WAITING: usize = 128 << 10;

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the node's certificate cannot be made")]
    Generate(#[from] certificate::GenError),
    #[error("TLS is not set up")]
    Setup(#[from] rustls::Error),
    #[error("the handshake failed")]
    Handshake(#[from] io::Error),
    #[error("the peer's certificate is none of a node")]
    Certificate(#[from] certificate::ParseError),
    #[error("the peer shows no certificate")]
    NoCertificate,
}

/// The upgrade of a connection.
#[derive(Clone)]
pub(crate) struct Tls {
    server: Arc<rustls::ServerConfig>,
    pub(super) client: Arc<rustls::ClientConfig>,
}

/// AES first where the processor has instructions for it; ChaCha20 is quicker elsewhere. The one who answers decides.
pub(super) fn provider() -> CryptoProvider {
    let suites = if has_aes() {
        vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256]
    } else {
        vec![TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384]
    };
    CryptoProvider { cipher_suites: suites, ..aws_lc_rs::default_provider() }
}

#[cfg(target_arch = "x86_64")]
pub(super) fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
pub(super) fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn has_aes() -> bool {
    false
}

impl Tls {
    pub fn new(identity: &Keypair) -> Result<Self, Error> {
        let provider = Arc::new(provider());
        let (certificate, key) = certificate::generate(identity)?;
        let key = provider.key_provider.load_private_key(key)?;
        let shown = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)));
        let alpn = vec![b"libp2p".to_vec()];
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(Verifier))
            .with_cert_resolver(Arc::clone(&shown) as _);
        server.alpn_protocols.clone_from(&alpn);
        // Else a peer that prefers ChaCha20 would have it.
        server.ignore_client_order = true;
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier))
            .with_client_cert_resolver(shown);
        client.alpn_protocols = alpn;
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

/// Checks that a certificate is one that the specification allows, and that its key made the handshake's signature. Whose it
/// is, is told to the swarm, which compares it with whom it dialled.
#[derive(Debug)]
struct Verifier;

fn check(certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
    if !others.is_empty() {
        return Err(rustls::Error::General("a node shows one certificate and no more".into()));
    }
    certificate::parse(certificate)?;
    Ok(())
}

fn check_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    certificate::parse(certificate)?.verify_signature(signed.scheme, message, signed.signature())?;
    Ok(HandshakeSignatureValid::assertion())
}

/// Of a version that is not spoken here.
fn too_old() -> rustls::Error {
    rustls::Error::General("nodes speak TLS 1.3 and nothing older".into())
}

fn schemes() -> Vec<SignatureScheme> {
    // Without RSA: no node of this network has such a key in its certificate.
    vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ECDSA_NISTP384_SHA384, SignatureScheme::ED25519]
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        check(certificate, others).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        check(certificate, others).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// Who showed the certificate of this connection.
fn peer(connection: &CommonState) -> Result<PeerId, Error> {
    match connection.peer_certificates() {
        Some([certificate]) => Ok(certificate::parse(certificate)?.peer_id()),
        _ => Err(Error::NoCertificate),
    }
}

type Upgraded<S> = Pin<Box<dyn Future<Output = Result<(PeerId, TlsStream<Buffered<S>>), Error>> + Send>>;

impl UpgradeInfo for Tls {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/tls/1.0.0")
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<S> for Tls {
    type Output = (PeerId, TlsStream<Buffered<S>>);
    type Error = Error;
    type Future = Upgraded<S>;

    fn upgrade_inbound(self, socket: S, _: Self::Info) -> Self::Future {
        Box::pin(async move {
            let mut stream = TlsAcceptor::from(self.server).accept(Buffered::new(socket)).await?;
            let connection = stream.get_mut().1;
            connection.set_buffer_limit(Some(WAITING));
            Ok((peer(connection)?, stream.into()))
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<S> for Tls {
    type Output = (PeerId, TlsStream<Buffered<S>>);
    type Error = Error;
    type Future = Upgraded<S>;

    fn upgrade_outbound(self, socket: S, _: Self::Info) -> Self::Future {
        Box::pin(async move {
            // The specification forbids a name; with an address none is sent.
            let nobody = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
            let mut stream = TlsConnector::from(self.client).connect(nobody, Buffered::new(socket)).await?;
            let connection = stream.get_mut().1;
            connection.set_buffer_limit(Some(WAITING));
            Ok((peer(connection)?, stream.into()))
        })
    }
}
