//! The last words of each plugin, for `fondaco plugin logs`: a ring for each id, bounded in lines and bytes, that lives as
//! long as the runtime and over every reload. What is in it was made harmless before (`log`). It is never written to disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::error::Who;

/// The most lines that are kept of a plugin.
pub const MAX_LOG_LINES: usize = 1_000;
/// The most bytes that are kept of a plugin.
const MAX_BYTES: usize = 256 << 10;
/// The longest line, in bytes; what is longer is cut.
const MAX_LINE: usize = 4 << 10;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What the plugin printed.
    Info,
    /// Something of it was cut or denied.
    Warn,
    /// A call failed.
    Error,
}

impl Level {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Counts a plugin's lines from 1, so that a reader knows where it was.
    pub number: u64,
    /// When the call that it belongs to ended.
    pub at: SystemTime,
    /// The version that was called.
    pub version: String,
    /// Which function was called.
    pub call: &'static str,
    /// How grave it is.
    pub level: Level,
    /// The text, without control characters.
    pub text: String,
}

/// All plugins' last words. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Logbook(Arc<Mutex<BTreeMap<String, Ring>>>);

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    last: u64,
}

impl Logbook {
    pub(crate) fn write(&self, who: &Who, call: &'static str, level: Level, mut text: String) {
        if text.len() > MAX_LINE {
            text.truncate(text.floor_char_boundary(MAX_LINE));
            text.push('…');
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = all.entry(who.id.clone()).or_default();
        ring.last += 1;
        ring.bytes += text.len();
        let (number, at) = (ring.last, SystemTime::now());
        ring.lines.push_back(LogLine { number, at, version: who.version.clone(), call, level, text });
        while ring.lines.len() > MAX_LOG_LINES || ring.bytes > MAX_BYTES {
            let Some(old) = ring.lines.pop_front() else { break };
            ring.bytes -= old.text.len();
        }
    }

    /// Lines of a plugin after the one with the number `after`, at most the last `most` of them, in order.
    pub fn lines(&self, id: &str, after: u64, most: usize) -> Vec<LogLine> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ring) = all.get(id) else { return Vec::new() };
        let new = ring.lines.iter().rev().take_while(|l| l.number > after).take(most);
        let mut new: Vec<LogLine> = new.cloned().collect();
        new.reverse();
        new
    }

    /// The number of a plugin's last line; 0 where there is none.
    pub fn last(&self, id: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).map_or(0, |ring| ring.last)
    }

    /// Forgets a plugin that was removed.
    pub fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(book: &Logbook, id: &str, text: String) {
        let who = Who { id: id.into(), version: "1.0.0".into() };
        book.write(&who, "find", Level::Info, text);
    }

    #[test]
    fn keeps_the_last_lines_of_each_plugin_within_its_bounds() {
        let book = Logbook::default();
        for n in 0..MAX_LOG_LINES + 10 {
            write(&book, "a", n.to_string());
        }
        write(&book, "b", "other".into());
        let lines = book.lines("a", 0, usize::MAX);
        assert_eq!((lines.len(), lines[0].text.as_str()), (MAX_LOG_LINES, "10"));
        let new = book.lines("a", lines.last().unwrap().number - 2, 10);
        assert_eq!(new.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["1008", "1009"]);
        assert_eq!(book.lines("a", 0, 1)[0].text, "1009");
        for _ in 0..200 {
            write(&book, "a", "ä".repeat(MAX_LINE));
        }
        let lines = book.lines("a", 0, usize::MAX);
        let bytes: usize = lines.iter().map(|l| l.text.len()).sum();
        assert!(bytes <= MAX_BYTES && lines.len() > 60, "{bytes} bytes in {} lines", lines.len());
        assert_eq!(book.lines("b", 0, 10).len(), 1, "one plugin does not push out another's");
        book.forget("b");
        assert!(book.lines("b", 0, 10).is_empty());
    }
}
