//! `cargo fondaco dev`: the plugin in a node of its own, built and loaded anew each time that a file is saved. The browser
//! talks to a small proxy in this program (`proxy`), which adds a script to pages that loads them anew; the node (`node`)
//! is the ordinary one, as strict as ever. Everything is thrown away at the end.

mod node;
mod proxy;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fondaco_trust::{KeyPair, bundle};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch as channel;

use crate::cli::Dev;
use crate::error::Error;
use crate::files::replace;
use crate::lang::Project;
use crate::pack::{self, Source};
use crate::report::{self, progress};
use crate::sign::signed;

/// Saves within this time of each other are built once.
const SETTLE: Duration = Duration::from_millis(60);
/// Lines of the compiler that the page shows.
const MAX_LINES: usize = 200;

/// What the page needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Counts the versions that were loaded; a page that saw another one loads itself anew.
    pub version: u64,
    /// Why the last one was not, in the compiler's or the node's words.
    pub error: Option<String>,
}

/// Runs until ctrl-c.
pub fn run(options: &Dev) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(|e| Error::Kit(Box::new(e))).and_then(|r| r.block_on(opened(options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::finish(Err(error), false),
    }
}

async fn opened(options: &Dev) -> Result<(), Error> {
    // What is wrong with the plugin's folder is said before anything is started.
    let manifest = pack::request(&options.path)?;
    Project::find(&options.path)?;
    let port = options.port;
    let taken = |e| Error::Port(port, e);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(taken)?;
    let url = format!("http://{}", listener.local_addr().map_err(taken)?);
    let (say, hear) = channel::channel(State::default());
    let key = Arc::new(KeyPair::generate()?);

    let mut ids = vec![manifest.id.to_string()];
    for folder in &options.with {
        ids.push(pack::request(folder)?.id.to_string());
    }
    let program = node::program(options.node.as_deref())?;
    let node = Arc::new(node::Node::start(&program, &url, &ids, &key).await?);
    tokio::spawn(proxy::serve(listener, node.address, hear));

    let builder = Builder { folder: options.path.clone(), node: node.clone(), key: key.clone(), say };
    let (with, works) = (options.with.clone(), options.work.clone());
    std::thread::spawn(move || {
        for folder in &with {
            if let Err(error) = builder.beside(folder) {
                progress(&format!("{}: {}", folder.display(), report::chain(&error).join(": ")));
            }
        }
        builder.keep_building(&works);
    });
    progress(&format!("the shop is at {url}/ until ctrl-c"));

    let mut terminate = signal(SignalKind::terminate()).map_err(|e| Error::Kit(Box::new(e)))?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = node.ended() => return Err(Error::NodeEnded),
    }
    node.stop().await;
    Ok(())
}

/// Builds and installs, one time after the other.
struct Builder {
    folder: PathBuf,
    node: Arc<node::Node>,
    key: Arc<KeyPair>,
    say: channel::Sender<State>,
}

impl Builder {
    fn keep_building(&self, works: &[PathBuf]) {
        let mut changes = self.watched();
        self.once();
        // The shop is open by now; its works may come one by one.
        self.node.publish(works);
        while changes.as_ref().is_some_and(|c| c.wait(SETTLE)) {
            // Anew each time, for folders that have come since.
            changes = self.watched();
            self.once();
        }
    }

    fn watched(&self) -> Option<watch::Changes> {
        let say = |e| progress(&format!("{} is not watched any more: {e}", self.folder.display()));
        watch::Changes::of(&self.folder).map_err(say).ok()
    }

    /// One build, and what became of it.
    fn once(&self) {
        let started = Instant::now();
        match self.load() {
            Ok(()) => {
                progress(&format!("built and loaded in {:.1} s", started.elapsed().as_secs_f64()));
                self.say.send_modify(|s| *s = State { version: s.version + 1, error: None });
            }
            Err(words) => {
                progress("the version before stays");
                self.say.send_modify(|s| s.error = Some(words));
            }
        }
    }

    fn load(&self) -> Result<(), String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        let said = move |line: &str| {
            let mut lines = heard.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() < MAX_LINES {
                lines.push(without_colours(line));
            }
        };
        let built = Project::find(&self.folder).and_then(|p| p.build_for_trying(said));
        let component = built.map_err(|error| {
            let said = lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
            if said.is_empty() { report::chain(&error).join("\n  because ") } else { said }
        })?;
        let bundle = self.bundle(&self.folder, Source::Given(&component)).map_err(|error| {
            let words = report::chain(&error).join("\n  because ");
            progress(&format!("error: {words}"));
            words
        })?;
        self.node.install(&bundle)
    }

    /// Another plugin beside it, as it would be released.
    fn beside(&self, folder: &Path) -> Result<(), Error> {
        let bundle = self.bundle(folder, Source::Build)?;
        self.node.install(&bundle).map_err(Error::Install)
    }

    /// Packs, signs and writes a bundle into the throw-away folder.
    fn bundle(&self, folder: &Path, source: Source<'_>) -> Result<PathBuf, Error> {
        let now = OffsetDateTime::now_utc();
        let released = now.replace_nanosecond(0).unwrap_or(now);
        let (manifest, bytes) = pack::unsigned(folder, pack::request(folder)?, released, source)?;
        let target = self.node.folder().join(bundle::file_name(&manifest));
        let bytes = signed(&target, bytes, &self.key)?;
        replace(&target, &bytes)?;
        Ok(target)
    }
}

/// A line without what colours it on a terminal (ECMA-48 control sequences).
fn without_colours(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        rest = after.find(|c: char| ('@'..='~').contains(&c)).and_then(|end| after.get(end + 1..)).unwrap_or_default();
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(without_colours("\u{1b}[1m\u{1b}[38;5;9merror\u{1b}[0m: no"), "error: no");
        assert_eq!(without_colours("plain"), "plain");
        assert_eq!(without_colours("cut \u{1b}[38;5"), "cut ");
    }
}
