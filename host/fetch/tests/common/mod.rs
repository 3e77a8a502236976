//! Servers on loopback that answer as a test says, a resolver that says what a test wants, and a dialler that records.
#![allow(dead_code, reason = "shared by tests that each need a part")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fondaco_fetch::{Client, Dial, Options, Resolve, Stream, System};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A public address, where nobody is: dialled, it stands for a server of the test's.
pub const PUBLIC: &str = "93.184.216.34";

/// What a server does with one connection after it has read a request's head.
#[derive(Clone)]
pub enum Act {
    /// Writes these bytes and closes.
    Say(Vec<u8>),
    /// Writes these bytes and then says nothing more.
    Stall(Vec<u8>),
    /// Writes these bytes, then these again and again.
    Endless(Vec<u8>, Vec<u8>),
}

/// A server on loopback, and the requests that it saw.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(act: Act, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (act, tls, record) = (act.clone(), tls.clone(), record.clone());
                tokio::spawn(async move {
                    let mut stream: Box<dyn Stream> = match tls {
                        None => Box::new(stream),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    let _ = serve(&mut stream, act, &record).await;
                });
            }
        });
        Self { address, seen, task }
    }
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(stream: &mut Box<dyn Stream>, act: Act, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..n]);
    }
    // What is there of a body is read, so that closing does not reset.
    let head = String::from_utf8_lossy(&request).into_owned();
    let length =
        head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
    let body_at = head.find("\r\n\r\n").unwrap_or(0) + 4;
    while request.len() < body_at + length.unwrap_or(0) {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            break;
        }
        request.extend_from_slice(&buffer[..n]);
    }
    seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    match act {
        Act::Say(bytes) => stream.write_all(&bytes).await?,
        Act::Stall(bytes) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            std::future::pending::<()>().await;
        }
        Act::Endless(head, piece) => {
            stream.write_all(&head).await?;
            loop {
                stream.write_all(&piece).await?;
                stream.flush().await?;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    }
    stream.shutdown().await
}

/// An answer with a body and its length.
pub fn ok(body: &str) -> Act {
    Act::Say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// Names and what they are said to be at; each question may get another answer.
#[derive(Default)]
pub struct Names {
    answers: BTreeMap<String, Vec<Vec<IpAddr>>>,
    pub asked: AtomicUsize,
}

impl Names {
    /// `turns`: the addresses of the first answer, of the second, and so on; then from the beginning.
    pub fn with(mut self, name: &str, turns: &[&[&str]]) -> Self {
        let turns = turns.iter().map(|turn| turn.iter().map(|a| a.parse().unwrap()).collect()).collect();
        self.answers.insert(name.into(), turns);
        self
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        let turns = self.answers.get(name).or_else(|| self.answers.get("*")).ok_or(io::ErrorKind::NotFound)?;
        Ok(turns[turn % turns.len()].clone())
    }
}

/// Records every address that is dialled. Those of `to` are connected to a server of the test's; all others refuse.
#[derive(Default)]
pub struct Recorder {
    pub dialled: Mutex<Vec<SocketAddr>>,
    pub to: BTreeMap<IpAddr, SocketAddr>,
}

#[async_trait]
impl Dial for Recorder {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        self.dialled.lock().unwrap().push(address);
        match self.to.get(&address.ip()) {
            Some(server) => System.dial(*server).await,
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

/// A client that looks up in `names` and connects the public address to `server`.
pub fn client(
    names: Names,
    server: Option<SocketAddr>,
    authorities: Vec<PathBuf>,
) -> (Client, Arc<Recorder>, Arc<Names>) {
    let to = server.map(|s| (PUBLIC.parse().unwrap(), s)).into_iter().collect();
    let (recorder, names) = (Arc::new(Recorder { to, ..Recorder::default() }), Arc::new(names));
    let options = Options { resolver: names.clone(), dialler: recorder.clone(), authorities };
    (Client::new(options).unwrap(), recorder, names)
}

/// A certificate authority of the test's own, and servers that it vouches for.
pub struct Authority {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key }
    }
    /// Its certificate, as an operator has it.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }
    /// TLS for a server that is `name`.
    pub fn vouch(&self, name: &str) -> TlsAcceptor {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
