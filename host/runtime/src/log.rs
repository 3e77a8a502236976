//! Where a guest's standard output and error go: into the node's log, cut at a limit and made harmless.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The most lines of one call that reach the log.
const MAX_LINES: usize = 200;

/// Takes what a guest prints during one call. What is over the limit is counted and dropped, so that printing never
/// fails and never fills anything.
#[derive(Clone)]
pub(crate) struct LogPipe {
    limit: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    text: Vec<u8>,
    dropped: usize,
}

impl LogPipe {
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }
    fn take(&self, bytes: &[u8]) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.limit.saturating_sub(taken.text.len()).min(bytes.len());
        let (kept, dropped) = bytes.split_at(room);
        taken.text.extend_from_slice(kept);
        taken.dropped += dropped.len();
    }
    /// The lines since the last time, with control characters escaped so that no terminal obeys them and no line is
    /// forged; then how many bytes were dropped.
    pub fn take_lines(&self) -> (Vec<String>, usize) {
        let taken = std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.text.is_empty() {
            return (Vec::new(), taken.dropped);
        }
        let text = String::from_utf8_lossy(&taken.text);
        let lines = text.lines().filter(|l| !l.is_empty());
        let mut lines: Vec<String> = lines.map(|l| l.chars().flat_map(escape).collect()).collect();
        let over = lines.split_off(lines.len().min(MAX_LINES));
        (lines, taken.dropped + over.iter().map(String::len).sum::<usize>())
    }
}

/// C0, DEL and C1 (with which terminals are commanded), what breaks lines, and what turns the direction of text around
/// (Unicode Technical Report 36, section 3.1), written as `\u{…}`.
fn escape(c: char) -> impl Iterator<Item = char> {
    let harmful = c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    let (plain, escaped) = if harmful { (None, Some(c.escape_unicode())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

impl IsTerminal for LogPipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogPipe {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl OutputStream for LogPipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait::async_trait]
impl Pollable for LogPipe {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LogPipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_the_limit_and_forges_no_line() {
        let pipe = LogPipe::new(20);
        pipe.take(b"one\x1b[2Jtwo\nthree\r");
        pipe.take(&[b'x'; 100]);
        let (lines, dropped) = pipe.take_lines();
        assert_eq!(lines, ["one\\u{1b}[2Jtwo", "three\\u{d}xxx"]);
        assert_eq!(dropped, 97);
        assert_eq!(pipe.take_lines(), (Vec::new(), 0), "each line is taken once");
        let pipe = LogPipe::new(64);
        pipe.take("\u{9b}2J \u{85} \u{2028} \u{202e}txt é".as_bytes());
        assert_eq!(pipe.take_lines().0, ["\\u{9b}2J \\u{85} \\u{2028} \\u{202e}txt é"]);
    }

    #[test]
    fn many_short_lines_have_an_end_too() {
        let pipe = LogPipe::new(64 << 10);
        pipe.take("xy\n".repeat(MAX_LINES + 7).as_bytes());
        let (lines, dropped) = pipe.take_lines();
        assert_eq!((lines.len(), dropped), (MAX_LINES, 7 * 2));
    }
}
