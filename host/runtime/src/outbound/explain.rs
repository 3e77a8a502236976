//! From what went wrong to the error codes of `wasi:http`.

use std::io::ErrorKind;

use fondaco_fetch::Error;
use wasmtime_wasi_http::Error as Wasi;

use super::grant::Refusal;

/// What a guest hears of a request that was not sent.
pub(crate) fn refusal(refusal: &Refusal) -> Wasi {
    match refusal {
        Refusal::Host(..) | Refusal::Clear(_) | Refusal::Placeholder => Wasi::HttpRequestDenied,
        Refusal::NoSecret(_) | Refusal::BadSecret(_) => Wasi::ConfigurationError,
    }
}

/// What a guest hears of a request that got no answer, or a part of one. No address and no text of the system's: what is
/// inside the operator's network is not the plugin's to know.
pub(crate) fn failure(error: &Error) -> Wasi {
    match error {
        Error::Header(..) => Wasi::HttpRequestDenied,
        Error::Method(_) => Wasi::HttpRequestMethodInvalid,
        Error::Resolve { .. } => Wasi::DnsError { rcode: None, info_code: None },
        Error::Forbidden { .. } => Wasi::DestinationIpProhibited,
        Error::Connect { source, .. } => match source.kind() {
            ErrorKind::ConnectionRefused => Wasi::ConnectionRefused,
            ErrorKind::TimedOut => Wasi::ConnectionTimeout,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Wasi::DestinationIpUnroutable,
            _ => Wasi::DestinationUnavailable,
        },
        Error::ConnectTimeout { resolving: true, .. } => Wasi::DnsTimeout,
        Error::ConnectTimeout { .. } => Wasi::ConnectionTimeout,
        Error::Certificate { .. } => Wasi::TlsCertificateError,
        Error::Tls { .. } => Wasi::TlsProtocolError,
        Error::FirstByte { .. } => Wasi::ConnectionReadTimeout,
        Error::Total { .. } => Wasi::HttpResponseTimeout,
        Error::HeadersTooLarge { limit, .. } => Wasi::HttpResponseHeaderSectionSize(u32::try_from(*limit).ok()),
        Error::BodyTooLarge { limit, .. } => Wasi::HttpResponseBodySize(Some(*limit)),
        Error::Budget { .. } => Wasi::ConnectionLimitReached,
        Error::Cut { .. } => Wasi::HttpResponseIncomplete,
        Error::Protocol { .. } => Wasi::HttpProtocolError,
        other => {
            tracing::error!(error = %other, "a request failed in a way that no guest is told of");
            Wasi::InternalError(None)
        }
    }
}
