//! Compiling untrusted components: in a child process that can be killed, with what comes out kept in a cache that
//! nobody but this node can write.
//!
//! Compiled code is native code, and loading it is trusting it. So it is loaded only if it came over the pipe from our
//! own compiler, or from a cache entry whose MAC (keyed BLAKE3 over engine hash, component digest and code) is right.

use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine;
use crate::error::{LoadError, Who};

const WALL: Duration = Duration::from_mins(2);
const CPU_SECONDS: u64 = 90;
const ADDRESS_SPACE: u64 = 3 << 30;
const MAX_CODE: u64 = 256 << 20;
const MAX_COMPONENT: u64 = 32 << 20;
/// Code of all components that is kept, in bytes.
const MAX_CACHE: u64 = 2 << 30;

/// How components become code.
#[derive(Clone, Debug)]
pub struct Compiler {
    program: PathBuf,
    arguments: Vec<String>,
    cache: PathBuf,
    mac_key: [u8; 32],
    /// How long one compilation may take.
    wall: Duration,
}

impl Compiler {
    /// `program` with `arguments` must end up in [`compile_stdin`]. `mac_key` is the node's own.
    pub fn new(program: PathBuf, arguments: Vec<String>, cache: PathBuf, mac_key: [u8; 32]) -> Self {
        Self { program, arguments, cache, mac_key, wall: WALL }
    }

    /// The component's code, from the cache where that is sound, else compiled anew.
    pub(crate) async fn load(&self, engine: &Engine, who: &Who, component: &[u8]) -> Result<Component, LoadError> {
        let digest = blake3::hash(component);
        let label = label(engine, digest);
        let path = self.cache.join(format!("{}.cwasm", digest.to_hex()));
        match tokio::fs::read(&path).await {
            Ok(entry) => match open_entry(&self.mac_key, &label, &entry) {
                Some(code) => match deserialize(engine, code) {
                    Ok(component) => return Ok(component),
                    Err(reason) => {
                        tracing::warn!(plugin = %who, %reason, "a cached plugin does not load; compiling it again");
                    }
                },
                None => {
                    tracing::warn!(plugin = %who, path = %path.display(), "a cached plugin is not ours or is from another version; compiling it again");
                }
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            // Without its cache a node starts more slowly, and starts.
            Err(error) => {
                tracing::warn!(plugin = %who, path = %path.display(), %error, "a compiled plugin cannot be read");
            }
        }
        let code = self.compile(who, component).await?;
        if let Err(error) = self.keep(&path, &label, &code).await {
            tracing::warn!(plugin = %who, path = %path.display(), %error, "a compiled plugin cannot be kept");
        }
        deserialize(engine, &code).map_err(|reason| LoadError::Compile { who: who.clone(), reason })
    }

    async fn compile(&self, who: &Who, component: &[u8]) -> Result<Vec<u8>, LoadError> {
        let failed = |reason: String| LoadError::Compile { who: who.clone(), reason };
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(format!("the compiler {} does not start: {e}", self.program.display())))?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("the compiler has no pipes".into()));
        };
        let work = async {
            let feed = async {
                // A compiler that dies early closes the pipe; its exit status says more than the broken pipe.
                let _ = stdin.write_all(component).await;
                drop(stdin);
            };
            let mut code = Vec::new();
            let mut words = Vec::new();
            let (mut stdout, mut stderr) = (stdout.take(MAX_CODE), stderr.take(4096));
            let ((), read, _) = tokio::join!(feed, stdout.read_to_end(&mut code), stderr.read_to_end(&mut words));
            let status = child.wait().await;
            (code, words, read, status)
        };
        let Ok((code, words, read, status)) = tokio::time::timeout(self.wall, work).await else {
            let wall = self.wall;
            return Err(failed(format!("it took longer than {wall:?}; the component is too large or too intricate")));
        };
        let status = status.map_err(|e| failed(e.to_string()))?;
        if !status.success() || read.is_err() || code.is_empty() {
            let words = String::from_utf8_lossy(&words);
            let words = words.lines().next_back().unwrap_or_default();
            return Err(failed(format!(
                "the compiler ended with {status}{}{words} (it may use {} MiB of memory and {CPU_SECONDS} s of CPU)",
                if words.is_empty() { "" } else { ": " },
                ADDRESS_SPACE >> 20
            )));
        }
        Ok(code)
    }

    async fn keep(&self, path: &Path, label: &[u8], code: &[u8]) -> std::io::Result<()> {
        let mut entry = mac(&self.mac_key, label, code).as_bytes().to_vec();
        entry.extend_from_slice(code);
        let (dir, path) = (self.cache.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&dir)?;
            make_room(&dir, entry.len() as u64, MAX_CACHE)?;
            let temporary = path.with_extension(format!("tmp{}", std::process::id()));
            let kept = std::fs::write(&temporary, &entry).and_then(|()| std::fs::rename(&temporary, &path));
            kept.inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        })
        .await
        .map_err(std::io::Error::other)?
    }
}

/// Removes entries, those that were made first, until there is room for so many more bytes.
fn make_room(dir: &Path, more: u64, most: u64) -> std::io::Result<()> {
    let of = |entry: std::fs::DirEntry| {
        let meta = entry.metadata().ok()?;
        Some((meta.modified().ok()?, meta.len(), entry.path()))
    };
    let mut entries: Vec<_> = std::fs::read_dir(dir)?.flatten().filter_map(of).collect();
    entries.sort();
    let mut sum = entries.iter().fold(more, |sum, (_, len, _)| sum.saturating_add(*len));
    for (_, len, path) in entries {
        if sum <= most {
            break;
        }
        std::fs::remove_file(path)?;
        sum -= len;
    }
    Ok(())
}

fn label(engine: &Engine, digest: blake3::Hash) -> Vec<u8> {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    [digest.as_bytes().as_slice(), &hasher.finish().to_le_bytes()].concat()
}

fn mac(key: &[u8; 32], label: &[u8], code: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(label);
    hasher.update(code);
    hasher.finalize()
}

/// The code of a cache entry, if its MAC is right. `blake3::Hash` compares in constant time.
fn open_entry<'a>(key: &[u8; 32], label: &[u8], entry: &'a [u8]) -> Option<&'a [u8]> {
    let (tag, code) = entry.split_first_chunk::<32>()?;
    (blake3::Hash::from_bytes(*tag) == mac(key, label, code)).then_some(code)
}

#[expect(unsafe_code, reason = "the bytes are our own compiler's: over the pipe, or under our MAC")]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, String> {
    // SAFETY: see the module's documentation.
    unsafe { Component::deserialize(engine, code) }.map_err(|e| format!("{e:#}"))
}

/// The compiling child's whole life: limits itself, reads a component from standard input and writes its code to standard
/// output.
///
/// # Errors
/// One line for the parent's log.
pub fn compile_stdin() -> Result<(), String> {
    let limit = |resource, n| {
        setrlimit(resource, Rlimit { current: Some(n), maximum: Some(n) }).map_err(|e| format!("setrlimit: {e}"))
    };
    limit(Resource::As, ADDRESS_SPACE)?;
    limit(Resource::Cpu, CPU_SECONDS)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Core, 0)?;
    let mut component = Vec::new();
    std::io::stdin().take(MAX_COMPONENT + 1).read_to_end(&mut component).map_err(|e| e.to_string())?;
    if component.len() as u64 > MAX_COMPONENT {
        return Err(format!("the component is larger than {} MiB", MAX_COMPONENT >> 20));
    }
    crate::scan::scan(&component)?;
    let engine = Engine::new(&engine::config()).map_err(|e| format!("{e:#}"))?;
    let code = engine.precompile_component(&component).map_err(|e| format!("{e:#}").replace('\n', " "))?;
    std::io::stdout().write_all(&code).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_entry_with_any_byte_changed_is_not_opened() {
        let (key, code) = ([7; 32], vec![1, 2, 3, 4, 5]);
        let mut entry = mac(&key, b"label", &code).as_bytes().to_vec();
        entry.extend_from_slice(&code);
        assert_eq!(open_entry(&key, b"label", &entry), Some(code.as_slice()));
        for i in 0..entry.len() {
            let mut bad = entry.clone();
            bad[i] ^= 1;
            assert_eq!(open_entry(&key, b"label", &bad), None, "byte {i}");
        }
        assert_eq!(open_entry(&key, b"other", &entry), None, "of another component or engine");
        assert_eq!(open_entry(&[8; 32], b"label", &entry), None, "of another node");
        assert_eq!(open_entry(&key, b"label", &entry[..31]), None);
    }

    #[test]
    fn the_oldest_code_makes_room_for_new() {
        let folder = tempfile::tempdir().unwrap();
        let there = || {
            let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let made = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (name, age) in [("a", 2), ("b", 3), ("c", 1)] {
            let file = std::fs::File::create(folder.path().join(name)).unwrap();
            file.set_len(10).unwrap();
            file.set_modified(made - Duration::from_secs(age)).unwrap();
        }
        make_room(folder.path(), 10, 40).unwrap();
        assert_eq!(there(), ["a", "b", "c"], "there is room");
        make_room(folder.path(), 10, 20).unwrap();
        assert_eq!(there(), ["c"]);
    }

    #[tokio::test]
    async fn a_compiler_that_takes_too_long_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("pid");
        let script = format!("echo $$ > '{}'; exec sleep 600", told.display());
        let arguments = vec!["-c".into(), script];
        let mut compiler = Compiler::new("/bin/sh".into(), arguments, folder.path().join("cache"), [7; 32]);
        compiler.wall = Duration::from_secs(2);
        let who = Who { id: "org.example.p".into(), version: "1.0.0".into() };
        let compiled = tokio::time::timeout(Duration::from_secs(20), compiler.compile(&who, b"any bytes")).await;
        let why = compiled.expect("it is left").unwrap_err().to_string();
        assert!(why.contains("took longer than 2s"), "{why}");
        let pid = std::fs::read_to_string(&told).unwrap();
        // Dead, or dead and not yet waited for: in neither case does its number have a command any more.
        let runs = || std::fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| !line.is_empty());
        let begun = std::time::Instant::now();
        while runs() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it goes on without anybody");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
