//! `/fondaco/blob/1`: what goes over a stream.
//!
//! A message is its length (four bytes, little-endian) and CBOR. The asking side sends requests, one behind the other and
//! without waiting; the other side answers each in turn with a message, behind which the bytes that it announces follow
//! bare: a release's envelope, or groups in the encoding of `fondaco_store`. Their number is known from the request and the
//! blob's size, so that nothing is allocated by a peer's word.

use std::io;
use std::ops::Range;

use fondaco_schemas::{BlobHash, ReleaseId};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use minicbor::{Decode, Encode};

/// The longest message, in bytes.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;
/// The most runs of groups in a request or an answer.
pub(crate) const MAX_RUNS: usize = 1024;
/// The most groups in a request: 4 MiB.
pub(crate) const MAX_GROUPS: u64 = 256;

/// A run of groups: the first, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Run(#[n(0)] pub u64, #[n(1)] pub u64);

impl Run {
    pub fn list(ranges: &[Range<u64>]) -> Vec<Self> {
        ranges.iter().map(|r| Self(r.start, r.end.saturating_sub(r.start))).collect()
    }

    pub fn ranges(runs: &[Self]) -> Vec<Range<u64>> {
        runs.iter().map(|Self(start, count)| *start..start.saturating_add(*count)).collect()
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Request {
    /// A release's signed envelope.
    #[n(0)]
    Release(#[n(0)] ReleaseId),
    /// Groups of a blob.
    #[n(1)]
    Groups(#[n(0)] BlobHash, #[n(1)] Vec<Run>),
    /// A blob's outboard, for one who has its bytes from elsewhere.
    #[n(2)]
    Outboard(#[n(0)] BlobHash),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Answer {
    /// So many bytes follow.
    #[n(0)]
    Bytes(#[n(0)] u64),
    /// Not here, or not for everybody: which of the two is nobody's business. Of a blob that is being fetched: the runs of
    /// groups that are here.
    #[n(1)]
    NotHere(#[n(0)] Vec<Run>),
    /// Too much is asked at once. Ask again after so many milliseconds, and not on this stream.
    #[n(2)]
    Busy(#[n(0)] u32),
}

/// A message as it goes over the wire.
pub(crate) fn frame<T: Encode<()>>(message: &T) -> io::Result<Vec<u8>> {
    let body = minicbor::to_vec(message).map_err(io::Error::other)?;
    let len = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = len.to_le_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Sends a message. What it writes is flushed.
pub(crate) async fn send<T: Encode<()>>(stream: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    stream.write_all(&frame(message)?).await?;
    stream.flush().await
}

/// Reads a message; `None` where the other side has ended. Refused before anything is allocated: one that is too long.
pub(crate) async fn receive<T>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<T>>
where
    T: for<'b> Decode<'b, ()>,
{
    match receive_bytes(stream, MAX_MESSAGE).await? {
        Some(body) => decode(&body).map(Some),
        None => Ok(None),
    }
}

/// Reads a message's bytes, of which there may be at most `most`. Room is made as they come, a little ahead of them.
pub(crate) async fn receive_bytes(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    let mut got = 0;
    while got < len.len() {
        match stream.read(len.get_mut(got..).unwrap_or_default()).await? {
            0 if got == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => got += n,
        }
    }
    let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
    if len > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
    }
    let mut body = Vec::new();
    while body.len() < len {
        let from = body.len();
        body.resize(len.min(from + MAX_MESSAGE), 0);
        stream.read_exact(body.get_mut(from..).unwrap_or_default()).await?;
    }
    Ok(Some(body))
}

/// Reads a message that is all there is.
pub(crate) fn decode<T: for<'b> Decode<'b, ()>>(body: &[u8]) -> io::Result<T> {
    let mut decoder = minicbor::Decoder::new(body);
    let message = decoder.decode().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    if decoder.position() != body.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message goes on behind its end"));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_util::io::Cursor;

    use super::*;

    /// Remembers the most bytes that it was to fill at once.
    struct Boaster(Cursor<Vec<u8>>, usize);

    impl AsyncRead for Boaster {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
            self.1 = self.1.max(out.len());
            Pin::new(&mut self.0).poll_read(cx, out)
        }
    }

    #[tokio::test]
    async fn room_is_made_as_bytes_come_and_not_because_somebody_promises_them() {
        let mut boaster = Boaster(Cursor::new((1_u32 << 20).to_le_bytes().to_vec()), 0);
        assert!(receive_bytes(&mut boaster, 1 << 20).await.is_err());
        assert_eq!(boaster.1, MAX_MESSAGE);
    }

    async fn read(bytes: &[u8]) -> io::Result<Option<Request>> {
        receive(&mut Cursor::new(bytes)).await
    }

    #[tokio::test]
    async fn a_message_reads_back_and_a_broken_one_is_refused() {
        let request = Request::Groups(BlobHash::new([7; 32]), vec![Run(0, 3), Run(9, 64)]);
        let mut frame = Cursor::new(Vec::new());
        send(&mut frame, &request).await.unwrap();
        let frame = frame.into_inner();
        assert_eq!(read(&frame).await.unwrap(), Some(request));
        assert_eq!(read(&[]).await.unwrap(), None);
        for cut in 1..frame.len() {
            assert!(read(&frame[..cut]).await.is_err(), "{cut}");
        }
        assert!(read(&u32::MAX.to_le_bytes()).await.is_err());
        let mut longer = frame.clone();
        longer[0] += 1;
        longer.push(0);
        assert!(read(&longer).await.is_err());
        // Any byte changed gives a request or a refusal, and never a panic or a large allocation.
        for at in 4..frame.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = frame.clone();
                bad[at] ^= flip;
                let _ = read(&bad).await;
            }
        }
    }
}
