//! The control socket: commands for a running node go through it, so that there is one process that holds the data and
//! one implementation of every command. A Unix socket in the data folder, for its owner alone; a JSON value a line.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use crate::cli::NodeCommand;
use crate::commands;
use crate::fail::{Done, Fail};
use crate::node::Node;
use crate::out::{Out, Said};

/// The longest request, in bytes.
const MAX_REQUEST: u64 = 256 << 10;
/// How long a client may take to ask.
const ASKING: Duration = Duration::from_secs(10);
/// How long a client may take no word of an answer.
const LISTENING: Duration = Duration::from_secs(30);

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    command: NodeCommand,
    json: bool,
}

/// Listens; an old socket of a node that is gone is replaced.
pub fn listen(path: &Path) -> Done<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let fail = |e: std::io::Error| Fail::failed(format!("the control socket {}: {e}", path.display()));
    // The data's lock is held by now, so nobody listens on what is left of it.
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener)
}

/// Carries out what clients ask, until `stop` says true.
pub async fn serve(listener: UnixListener, node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = told(&mut stop) => break,
            Some(_) = clients.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(client(stream, node.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
        }
    }
    // A command that is under way ends before the data is closed.
    while clients.join_next().await.is_some() {}
}

/// Waits until `stop` says true.
pub async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

async fn client(stream: UnixStream, node: Arc<Node>) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(MAX_REQUEST));
    match tokio::time::timeout(ASKING, reader.read_line(&mut line)).await {
        Ok(Ok(n)) if n > 0 => {}
        _ => return,
    }
    let (sender, mut said) = mpsc::channel::<Said>(256);
    let work = tokio::spawn(async move {
        let out = Out::Client(sender.clone());
        let done = match serde_json::from_str::<Request>(&line) {
            Ok(request) => commands::run(&node, request.command, request.json, &out).await,
            Err(e) => Err(Fail::usage(format!("the request cannot be read: {e}"))),
        };
        let exit = match done {
            Ok(()) => Said::Exit(0, None),
            Err(fail) => Said::Exit(fail.code, Some(fail.text)),
        };
        let _ = sender.send(exit).await;
    });
    let mut more = [0];
    loop {
        // A client says no more than its request: the end of what it says is that it left.
        let said = tokio::select! {
            said = said.recv() => said,
            read = reader.read(&mut more) => match read {
                Ok(n) if n > 0 => continue,
                _ => break,
            },
        };
        let Some(said) = said else { break };
        let Ok(mut line) = serde_json::to_string(&said) else { continue };
        line.push('\n');
        match tokio::time::timeout(LISTENING, write.write_all(line.as_bytes())).await {
            Ok(Ok(())) => {}
            _ => break,
        }
    }
    // A client that left is no reason to stop half-way, and no reason to wait for room that never comes.
    drop(said);
    let _ = work.await;
}

/// Asks the running node; nothing where none is running.
pub async fn ask(path: &Path, command: &NodeCommand, json: bool, out: &Out) -> Option<Done> {
    let stream = UnixStream::connect(path).await.ok()?;
    Some(converse(stream, command, json, out).await)
}

async fn converse(stream: UnixStream, command: &NodeCommand, json: bool, out: &Out) -> Done {
    let (read, mut write) = stream.into_split();
    let request = Request { command: command.clone(), json };
    let mut line = serde_json::to_string(&request).map_err(Fail::failed)?;
    line.push('\n');
    let lost = |e: std::io::Error| Fail::unavailable(format!("the running node does not answer: {e}"));
    write.write_all(line.as_bytes()).await.map_err(lost)?;
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await.map_err(lost)? {
        match serde_json::from_str(&line).map_err(Fail::failed)? {
            Said::Exit(0, _) => return Ok(()),
            Said::Exit(code, text) => return Err(Fail { code, text: text.unwrap_or_default() }),
            said => out.say(said),
        }
    }
    Err(Fail::unavailable("the running node stopped before it was done; ask again when it is up"))
}
