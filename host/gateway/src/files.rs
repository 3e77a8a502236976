//! Files and licences: verified bytes, ranges, conditions, and never a wrong byte. A blob that turns out corrupt while
//! it is sent cuts the answer short, so that no client takes it for whole.

use bytes::Bytes;
use fondaco_market::{Awaited, Content, Delivered, Delivery, Incoming, Market, Proof, Refusal};
use fondaco_schemas::BlobHash;
use fondaco_store::{Blob, RangeReader};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use tokio::task::JoinHandle;

use crate::answer::{Answer, Body, BoxError, FILE_POLICY, empty, full, plain, problem, set, streamed};
use crate::range::{Wanted, wanted};
use crate::session::decode;

/// What stands behind a file's name where its tree is asked for.
const OUTBOARD: &str = ".obao4";

/// `/files/<hash>/<name>`: the name is for people; what is served is what the hash says.
pub(crate) async fn file(market: &Market, method: &Method, uri: &Uri, headers: &HeaderMap, rest: &str) -> Answer {
    let hash = rest.split('/').next().unwrap_or_default();
    let Ok(hash) = hash.parse::<BlobHash>() else {
        return problem(StatusCode::NOT_FOUND, "not-found", "There is no such file.");
    };
    match market.file(hash, &proof(uri)).await {
        Ok(delivery) if rest.ends_with(OUTBOARD) && !delivery.file_name.ends_with(OUTBOARD) => {
            outboard(method, hash, delivery)
        }
        Ok(delivery) => serve(method, headers, hash, delivery).await,
        Err(refusal) => refuse(&refusal),
    }
}

/// A file's tree, for those who have its bytes from elsewhere: `bao-tree`'s outboard in groups of 16 KiB, without a length
/// in front. Only of a file that is here.
fn outboard(method: &Method, hash: BlobHash, delivery: Delivery) -> Answer {
    let Delivery { content: Content::Here(blob), size, public, .. } = delivery else {
        return problem(StatusCode::NOT_FOUND, "not-found", "The tree of that file is not here.");
    };
    let mut answer = Answer::new(full(Bytes::new()));
    let head = answer.headers_mut();
    set(head, header::CONTENT_TYPE, "application/octet-stream");
    set(head, header::CONTENT_LENGTH, &fondaco_store::outboard_bytes(size).to_string());
    set(head, header::CACHE_CONTROL, if public { "public, max-age=31536000, immutable" } else { "private, no-cache" });
    set(head, header::CONTENT_SECURITY_POLICY, FILE_POLICY);
    if *method == Method::HEAD || fondaco_store::outboard_bytes(size) == 0 {
        return answer;
    }
    let pieces = futures_util::stream::try_unfold(blob.outboard(), move |mut reader| async move {
        let read = tokio::task::spawn_blocking(move || (reader.piece(), reader));
        let (piece, reader) = read.await.map_err(BoxError::from)?;
        let piece = piece.inspect_err(|error| tracing::error!(%hash, %error, "cut an answer short"))?;
        Ok::<_, BoxError>(piece.map(|piece| (piece, reader)))
    });
    *answer.body_mut() = streamed(pieces);
    answer
}

/// `/licences/<entitlement>/<path>`.
pub(crate) async fn licence(market: &Market, uri: &Uri, rest: &str) -> Answer {
    let (entitlement, path) = rest.split_once('/').unwrap_or((rest, ""));
    match market.licence(entitlement, &decode(&path.replace('+', "%2B")), &proof(uri)).await {
        Ok(Delivered { media_type, file_name, body }) => {
            let mut answer = plain("application/octet-stream", body);
            set(answer.headers_mut(), header::CONTENT_TYPE, &media_type);
            set(answer.headers_mut(), header::CONTENT_DISPOSITION, &disposition("attachment", &file_name));
            set(answer.headers_mut(), header::CACHE_CONTROL, "no-store");
            set(answer.headers_mut(), header::CONTENT_SECURITY_POLICY, FILE_POLICY);
            answer
        }
        Err(refusal) => refuse(&refusal),
    }
}

pub(crate) fn proof(uri: &Uri) -> Proof {
    let query = uri.query().unwrap_or_default();
    let get = |name: &str| {
        query.split('&').filter_map(|p| p.split_once('=')).find(|(k, _)| *k == name).map(|(_, v)| decode(v))
    };
    Proof { entitlement: get("e"), expires: get("x").and_then(|x| x.parse().ok()), tag: get("t") }
}

fn refuse(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::NotFound => problem(StatusCode::NOT_FOUND, "not-found", "There is no such file."),
        Refusal::Forbidden(why) => problem(StatusCode::FORBIDDEN, "not-entitled", why),
        Refusal::Unavailable(why) => problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why),
    }
}

async fn serve(method: &Method, headers: &HeaderMap, hash: BlobHash, delivery: Delivery) -> Answer {
    let Delivery { content, size, media_type, file_name, public, inline } = delivery;
    let etag = format!("\"{hash}\"");
    let (range, status) = match wanted(method, headers, &etag, size) {
        Wanted::Whole => (0..size, StatusCode::OK),
        Wanted::Part(range) => (range, StatusCode::PARTIAL_CONTENT),
        Wanted::NotModified => {
            let mut answer = empty(StatusCode::NOT_MODIFIED);
            set(answer.headers_mut(), header::ETAG, &etag);
            return answer;
        }
        Wanted::Failed => {
            return problem(StatusCode::PRECONDITION_FAILED, "changed", "The file is not the one that was asked for.");
        }
        Wanted::Unsatisfiable => {
            let mut answer = problem(StatusCode::RANGE_NOT_SATISFIABLE, "range", "The file has no such bytes.");
            set(answer.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
            return answer;
        }
    };
    let length = range.end - range.start;
    let mut answer = Answer::new(full(Bytes::new()));
    *answer.status_mut() = status;
    let head = answer.headers_mut();
    set(head, header::CONTENT_TYPE, &media_type);
    set(head, header::CONTENT_LENGTH, &length.to_string());
    set(head, header::ACCEPT_RANGES, "bytes");
    set(head, header::ETAG, &etag);
    set(head, header::CONTENT_SECURITY_POLICY, FILE_POLICY);
    set(head, header::CACHE_CONTROL, if public { "public, max-age=31536000, immutable" } else { "private, no-cache" });
    set(head, header::CONTENT_DISPOSITION, &disposition(if inline { "inline" } else { "attachment" }, &file_name));
    if status == StatusCode::PARTIAL_CONTENT {
        set(head, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    if *method == Method::HEAD || length == 0 {
        return answer;
    }
    // The first piece is read before anything is promised, so that a corrupt blob is an error and not half an answer.
    let body = match content {
        Content::Here(blob) => match Pieces::start(blob, range).await {
            Ok(pieces) => Ok(pieces.into_body()),
            Err(error) => {
                tracing::error!(%hash, %error, "a file cannot be served");
                Err(("corrupt", "The file is damaged on this node and is not served. Its operator was told."))
            }
        },
        Content::Awaited(awaited) => match Arriving::start(hash, awaited, range).await {
            Ok(arriving) => Ok(streamed(futures_util::stream::try_unfold(arriving, Arriving::next))),
            Err(why) => {
                tracing::warn!(%hash, %why, "a file that is not here was asked for, and does not come");
                Err((
                    "not-here",
                    "The file is not on this node, and nobody who has it can be reached. Try again later.",
                ))
            }
        },
    };
    match body {
        Ok(body) => {
            *answer.body_mut() = body;
            answer
        }
        Err((kind, why)) => problem(StatusCode::SERVICE_UNAVAILABLE, kind, why),
    }
}

/// A file on its way from elsewhere. One piece is held, and the next is taken when the client has taken that.
struct Arriving {
    hash: BlobHash,
    incoming: Box<dyn Incoming>,
    first: Option<Bytes>,
}

impl Arriving {
    async fn start(hash: BlobHash, awaited: Awaited, range: std::ops::Range<u64>) -> Result<Self, String> {
        let mut incoming = awaited.bring(range).await?;
        let first = incoming.next().await?;
        Ok(Self { hash, incoming, first })
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BoxError> {
        if let Some(first) = self.first.take() {
            return Ok(Some((first, self)));
        }
        match self.incoming.next().await {
            Ok(next) => Ok(next.map(|bytes| (bytes, self))),
            Err(why) => {
                tracing::error!(hash = %self.hash, %why, "cut an answer short: the rest of the file does not come");
                Err(why.into())
            }
        }
    }
}

/// Reads verified pieces on blocking threads, one ahead of what is being sent. A slow client holds a piece, not a thread.
struct Pieces {
    ready: Option<Bytes>,
    ahead: Option<Ahead>,
}

type Ahead = JoinHandle<(RangeReader, Option<Result<Bytes, fondaco_store::Error>>)>;

fn read_ahead(mut reader: RangeReader) -> Ahead {
    tokio::task::spawn_blocking(move || {
        let piece = reader.piece().transpose();
        (reader, piece)
    })
}

impl Pieces {
    async fn start(blob: Blob, range: std::ops::Range<u64>) -> Result<Self, BoxError> {
        let mut pieces = Self { ready: None, ahead: Some(read_ahead(blob.range(range)?)) };
        pieces.fetch().await?;
        Ok(pieces)
    }

    async fn fetch(&mut self) -> Result<(), BoxError> {
        let Some(ahead) = self.ahead.take() else { return Ok(()) };
        let (reader, piece) = ahead.await?;
        if let Some(piece) = piece {
            self.ready = Some(piece?);
            self.ahead = (reader.remaining() > 0).then(|| read_ahead(reader));
        }
        Ok(())
    }

    fn into_body(mut self) -> Body {
        match (self.ready.take(), &self.ahead) {
            // All of it is read already.
            (Some(only), None) => full(only),
            (ready, _) => streamed(futures_util::stream::try_unfold(Self { ready, ..self }, Self::next)),
        }
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BoxError> {
        if self.ready.is_none() {
            self.fetch().await.inspect_err(|error| tracing::error!(%error, "cut an answer short"))?;
        }
        Ok(self.ready.take().map(|piece| (piece, self)))
    }
}

/// RFC 6266, with the name in both forms where it is not plain ASCII.
fn disposition(how: &str, file_name: &str) -> String {
    let name = file_name.rsplit('/').next().unwrap_or_default();
    let ascii: String =
        name.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' { c } else { '_' }).collect();
    if ascii == name {
        return format!("{how}; filename=\"{ascii}\"");
    }
    let encoded: String = name
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect();
    format!("{how}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_cannot_break_out_of_their_header() {
        assert_eq!(disposition("inline", "a/b c.mp3"), "inline; filename=\"b c.mp3\"");
        assert_eq!(
            disposition("attachment", "é\".txt"),
            "attachment; filename=\"__.txt\"; filename*=UTF-8''%C3%A9%22.txt"
        );
        assert!(!disposition("inline", "x\r\nSet-Cookie: a=b").contains('\n'));
    }
}
