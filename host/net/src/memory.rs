//! Hundreds of nodes in one process: connections that are channels, without encryption. For labs and tests; a node of an
//! operator never has them ([`Transport::Sockets`](crate::Transport) is the default).

use std::io;
use std::pin::Pin;

use futures_util::future::Either;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version};
use libp2p::{PeerId, Transport as _, relay, yamux};

/// The transport, and the relay client that belongs to it.
#[must_use]
pub fn transport(me: PeerId) -> (Boxed<(PeerId, StreamMuxerBox)>, relay::client::Behaviour) {
    let (relayed, client) = relay::client::new(me);
    let relayed = relayed.upgrade(Version::V1Lazy).authenticate(Says(me)).multiplex(yamux::Config::default());
    let relayed = relayed.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let direct = MemoryTransport::default().upgrade(Version::V1Lazy).authenticate(Says(me));
    let direct = direct.multiplex(yamux::Config::default());
    let direct = direct.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let both = relayed.or_transport(direct).map(|either, _| match either {
        Either::Left(connection) | Either::Right(connection) => connection,
    });
    (both.boxed(), client)
}

/// Both sides say who they are, and are believed.
#[derive(Clone, Debug)]
struct Says(PeerId);

impl UpgradeInfo for Says {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;
    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/fondaco/says/1")
    }
}

type Said<S> = Pin<Box<dyn Future<Output = io::Result<(PeerId, S)>> + Send>>;

async fn say<S: AsyncRead + AsyncWrite + Unpin>(me: PeerId, mut stream: S) -> io::Result<(PeerId, S)> {
    let bytes = me.to_bytes();
    let len = u8::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[len]).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    let mut len = [0];
    stream.read_exact(&mut len).await?;
    let mut bytes = vec![0; usize::from(len[0])];
    stream.read_exact(&mut bytes).await?;
    Ok((PeerId::from_bytes(&bytes).map_err(io::Error::other)?, stream))
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<S> for Says {
    type Output = (PeerId, S);
    type Error = io::Error;
    type Future = Said<S>;
    fn upgrade_inbound(self, stream: S, _: Self::Info) -> Said<S> {
        Box::pin(say(self.0, stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<S> for Says {
    type Output = (PeerId, S);
    type Error = io::Error;
    type Future = Said<S>;
    fn upgrade_outbound(self, stream: S, _: Self::Info) -> Said<S> {
        Box::pin(say(self.0, stream))
    }
}
