//! A small HTTP/1.1 client over the standard library (RFC 9112), for addresses on this machine. It has no opinions: what
//! the server sent is what the caller sees, and an answer that was cut off is an error.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// The longest body that is read, in bytes.
const MAX_BODY: u64 = 256 << 20;
/// The longest line of a head, in bytes.
const MAX_LINE: u64 = 64 << 10;
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_mins(1);

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request over a connection of its own. `host` is `address:port`.
pub fn send(host: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let answer = exchange(host, method, target, headers, body);
    answer.with_context(|| format!("{method} http://{host}{target}"))
}

fn exchange(host: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut request = Vec::with_capacity(body.len() + 1024);
    write!(request, "{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n")?;
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n")?;
    }
    if !body.is_empty() || method == "POST" {
        write!(request, "content-length: {}\r\n", body.len())?;
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    read(&mut BufReader::new(stream), method)
}

fn read(from: &mut impl BufRead, method: &str) -> Result<Answer> {
    let start = line(from)?;
    let status = start.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("{start:?} is no status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = line(from)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').with_context(|| format!("{line:?} is no header"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(answer);
    }
    if answer.header("transfer-encoding").is_some_and(|e| e.eq_ignore_ascii_case("chunked")) {
        answer.body = chunks(from)?;
    } else if let Some(length) = answer.header("content-length") {
        let length: u64 = length.parse().context("the answer's length is no number")?;
        exactly(from, length, &mut answer.body)?;
    } else {
        from.take(MAX_BODY).read_to_end(&mut answer.body)?;
    }
    Ok(answer)
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    ensure!(line.ends_with(b"\r\n"), "the answer ends within its head");
    line.truncate(line.len() - 2);
    Ok(String::from_utf8(line)?)
}

fn exactly(from: &mut impl BufRead, length: u64, into: &mut Vec<u8>) -> Result<()> {
    ensure!(length <= MAX_BODY, "the answer announces {length} bytes");
    let got = from.take(length).read_to_end(into)?;
    if got as u64 != length {
        bail!("the answer was cut off after {got} of {length} bytes");
    }
    Ok(())
}

/// RFC 9112 §7.1.
fn chunks(from: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let head = line(from)?;
        let digits = head.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).with_context(|| format!("{head:?} is no chunk's size"))?;
        ensure!(body.len() as u64 + size <= MAX_BODY, "the answer is too long");
        exactly(from, size, &mut body)?;
        let end = line(from)?;
        ensure!(end.is_empty(), "a chunk is longer than it said");
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Percent-encodes a text for a form or a query (WHATWG URL, `application/x-www-form-urlencoded`).
pub fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._*".contains(&b);
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<Answer> {
        read(&mut text.as_bytes(), "GET")
    }

    #[test]
    fn reads_bodies_of_every_framing() {
        let plain = answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd").unwrap();
        assert_eq!((plain.status, plain.text().as_str()), (200, "abc"));
        let chunked =
            answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n").unwrap();
        assert_eq!(chunked.text(), "abc");
        assert_eq!(answer("HTTP/1.1 404 Not Found\r\n\r\nabc").unwrap().text(), "abc");
    }

    #[test]
    fn an_answer_that_was_cut_off_is_an_error() {
        for cut in [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nContent-",
            "",
        ] {
            assert!(answer(cut).is_err(), "{cut:?}");
        }
    }

    #[test]
    fn encodes_what_a_form_may_not_hold() {
        assert_eq!(encode("a b&c=ä"), "a%20b%26c%3D%C3%A4");
    }
}
