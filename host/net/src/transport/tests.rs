//! Who somebody is, by which cipher it is said, and that nodes of other makes are understood.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_rustls::{TlsConnector, TlsStream};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, future};
use libp2p::PeerId;
use libp2p::core::muxing::StreamMuxerExt as _;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::tls::{self, certificate};
use rustls::CipherSuite;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{DuplexStream, ReadBuf};

use super::buffered::Buffered;
use super::tls::{has_aes, provider};
use super::{Mux, Tls};
use crate::tests::data;

/// One end of a pipe in memory.
struct Pipe(DuplexStream);

fn pipe() -> (Pipe, Pipe) {
    let (here, there) = tokio::io::duplex(64 << 10);
    (Pipe(here), Pipe(there))
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut out = ReadBuf::new(out);
        let read = tokio::io::AsyncRead::poll_read(Pin::new(&mut self.0), cx, &mut out);
        read.map_ok(|()| out.filled().len())
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

const NAME: &str = "/tls/1.0.0";

fn id(key: &Keypair) -> PeerId {
    key.public().to_peer_id()
}

/// Two nodes with a handshake behind them.
async fn two(here: &Keypair, there: &Keypair) -> (TlsStream<Buffered<Pipe>>, TlsStream<Buffered<Pipe>>) {
    let (a, b) = pipe();
    let dialled = Tls::new(here).unwrap().upgrade_outbound(a, NAME);
    let answered = Tls::new(there).unwrap().upgrade_inbound(b, NAME);
    let ((found, dialled), (came, answered)) = future::try_join(dialled, answered).await.unwrap();
    assert_eq!((found, came), (id(there), id(here)));
    (dialled, answered)
}

#[tokio::test]
async fn both_know_who_the_other_is_and_aes_is_spoken_where_the_processor_has_it() {
    let (here, there) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (mut dialled, mut answered) = two(&here, &there).await;
    let expected =
        if has_aes() { CipherSuite::TLS13_AES_128_GCM_SHA256 } else { CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 };
    for stream in [&dialled, &answered] {
        assert_eq!(stream.get_ref().1.negotiated_cipher_suite().unwrap().suite(), expected);
    }
    // What goes in comes out.
    let bytes = data(3 << 20, 1);
    let mut got = Vec::new();
    let send = async {
        dialled.write_all(&bytes).await.unwrap();
        dialled.close().await.unwrap();
    };
    future::join(send, answered.read_to_end(&mut got)).await.1.unwrap();
    assert!(got == bytes);
}

#[tokio::test]
async fn a_node_with_the_librarys_own_upgrade_is_understood_either_way() {
    let (ours, theirs) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (a, b) = pipe();
    let dialled = tls::Config::new(&theirs).unwrap().upgrade_outbound(a, NAME);
    let answered = Tls::new(&ours).unwrap().upgrade_inbound(b, NAME);
    let (dialled, answered) = future::join(dialled, answered).await;
    assert_eq!((dialled.unwrap().0, answered.unwrap().0), (id(&ours), id(&theirs)));
    let (a, b) = pipe();
    let dialled = Tls::new(&ours).unwrap().upgrade_outbound(a, NAME);
    let answered = tls::Config::new(&theirs).unwrap().upgrade_inbound(b, NAME);
    let (dialled, answered) = future::join(dialled, answered).await;
    assert_eq!((dialled.unwrap().0, answered.unwrap().0), (id(&theirs), id(&ours)));
}

/// Dials with what a node would show, and answers what the other side makes of it.
async fn shown(certificates: Vec<CertificateDer<'static>>, key_of: &Keypair) -> Result<PeerId, super::tls::Error> {
    let provider = Arc::new(provider());
    let (_, key) = certificate::generate(key_of).unwrap();
    let shown = CertifiedKey::new(certificates, provider.key_provider.load_private_key(key).unwrap());
    let mut config = rustls::ClientConfig::clone(&Tls::new(key_of).unwrap().client);
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(shown));
    let (a, b) = pipe();
    let name = std::net::Ipv4Addr::UNSPECIFIED.into();
    let dial = async {
        let mut stream =
            TlsConnector::from(Arc::new(config)).connect(rustls::pki_types::ServerName::IpAddress(name), a).await?;
        stream.read(&mut [0]).await
    };
    let answer = async {
        let (peer, mut stream) = Tls::new(&Keypair::generate_ed25519()).unwrap().upgrade_inbound(b, NAME).await?;
        stream.close().await?;
        Ok(peer)
    };
    future::join(dial, answer).await.1
}

#[tokio::test]
async fn whoever_shows_anothers_certificate_or_none_or_two_is_refused() {
    let (victim, thief) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let own = certificate::generate(&thief).unwrap().0;
    let stolen = certificate::generate(&victim).unwrap().0;
    // The thief has the certificate, which everybody is shown, and not its key.
    let error = shown(vec![stolen.clone()], &thief).await.unwrap_err();
    assert!(format!("{error:?}").contains("BadSignature"), "{error:?}");
    // Its own, with the victim's public key written into it.
    let key = victim.public().try_into_ed25519().unwrap().to_bytes();
    let mine = thief.public().try_into_ed25519().unwrap().to_bytes();
    let mut forged = own.to_vec();
    let at = forged.windows(32).position(|w| w == mine).unwrap();
    forged[at..at + 32].copy_from_slice(&key);
    assert!(shown(vec![forged.into()], &thief).await.is_err());
    assert!(shown(Vec::new(), &thief).await.is_err());
    let error = shown(vec![own, stolen], &thief).await.unwrap_err();
    assert!(format!("{error:?}").contains("one certificate"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_so_many_streams_and_no_more() {
    let (a, b) = pipe();
    let mut client = Mux::new(64).upgrade_outbound(a, "/yamux/1.0.0").await.unwrap();
    let mut server = Mux::new(4).upgrade_inbound(b, "/yamux/1.0.0").await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..20 {
        let mut stream = future::poll_fn(|cx| client.poll_outbound_unpin(cx)).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        flood.push(stream);
    }
    let drive = tokio::spawn(async move {
        // It is told to go away.
        let _ = future::poll_fn(|cx| client.poll_unpin(cx)).await;
    });
    let mut taken = Vec::new();
    let taking = async {
        while let Ok(stream) = future::poll_fn(|cx| server.poll_inbound_unpin(cx)).await {
            taken.push(stream);
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), taking).await;
    assert_eq!(taken.len(), 4);
    drive.abort();
    drop(flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_carry_what_is_put_in_and_whoever_is_not_read_waits() {
    let (a, b) = pipe();
    let mut client = Mux::new(4).upgrade_outbound(a, "/yamux/1.0.0").await.unwrap();
    let mut server = Mux::new(4).upgrade_inbound(b, "/yamux/1.0.0").await.unwrap();
    let mut writing = future::poll_fn(|cx| client.poll_outbound_unpin(cx)).await.unwrap();
    writing.write_all(b"x").await.unwrap();
    let drive = tokio::spawn(async move {
        future::poll_fn(|cx| client.poll_unpin(cx)).await.unwrap();
    });
    let mut reading = future::poll_fn(|cx| server.poll_inbound_unpin(cx)).await.unwrap();
    let serve = tokio::spawn(async move {
        future::poll_fn(|cx| server.poll_unpin(cx)).await.unwrap();
    });
    let bytes = data(8 << 20, 2);
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (counter, from) = (Arc::clone(&sent), bytes.clone());
    let sender = tokio::spawn(async move {
        for part in from.chunks(32 << 10) {
            writing.write_all(part).await.unwrap();
            counter.fetch_add(part.len(), std::sync::atomic::Ordering::Relaxed);
        }
        writing.close().await.unwrap();
    });
    // Nobody reads: what is on its way is the first window, and what lies between.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let waiting = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!((64 << 10..=(256 << 10)).contains(&waiting), "{waiting}");
    let mut got = Vec::new();
    reading.read_to_end(&mut got).await.unwrap();
    assert!(got.get(1..) == Some(bytes.as_slice()));
    sender.await.unwrap();
    drive.abort();
    serve.abort();
}
