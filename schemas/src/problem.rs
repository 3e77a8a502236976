//! Reading the TOML files that people write. [`read`] walks a document and collects every mistake with line and column,
//! so that whoever wrote it mends all of them at once. A key that no reader asked for is a mistake of its own, and
//! names the nearest key that would have been understood.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 64 << 10;
/// How deep tables and lists may lie in each other.
pub const MAX_DEPTH: usize = 8;
/// Beyond this many mistakes the rest is only counted.
const MAX_PROBLEMS: usize = 100;

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub text: String,
}

/// All mistakes of one file, in the order of their places. Its text has a line for each: `fondaco.toml:3:1: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name, as it is shown.
    pub file: String,
    /// At least one.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            let Problem { line, column, text } = problem;
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{line}:{column}: {text}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Reads the TOML document `text` by the reader `f`. `file` is the name that mistakes are shown with.
///
/// A reader answers `None` where something that it needs is missing or unreadable, which it has then reported. It asks
/// for all its keys before it gives up: a key that was never asked for counts as unknown.
pub fn read<T>(file: &str, text: &str, f: impl FnOnce(&mut Table<'_>) -> Option<T>) -> Result<T, Problems> {
    let notes = Notes { text, list: RefCell::default() };
    if text.len() > MAX_FILE_BYTES {
        notes.add(0, format!("the file has {} bytes, and at most {MAX_FILE_BYTES} are read", text.len()));
        return Err(notes.finish(file));
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        notes.add(error.span().map_or(0, |s| s.start), error.message().lines().collect::<Vec<_>>().join(", "));
    }
    if too_deep(document.get_ref(), MAX_DEPTH) {
        notes.add(0, format!("tables and lists lie in each other deeper than {MAX_DEPTH} levels"));
    }
    // After a mistake of syntax keys may be missing that were meant to be there: to name them would mislead.
    let read = if errors.is_empty() { Table::read(document.get_ref(), document.span(), "", &notes, f) } else { None };
    match read {
        Some(value) if notes.list.borrow().is_empty() => Ok(value),
        _ => Err(notes.finish(file)),
    }
}

fn too_deep(table: &DeTable<'_>, left: usize) -> bool {
    fn value(v: &DeValue<'_>, left: usize) -> bool {
        match v {
            DeValue::Table(t) => too_deep(t, left),
            DeValue::Array(a) => left == 0 || a.iter().any(|v| value(v.get_ref(), left - 1)),
            _ => false,
        }
    }
    left == 0 || table.iter().any(|(_, v)| value(v.get_ref(), left - 1))
}

/// Where mistakes are gathered while a document is read.
struct Notes<'a> {
    text: &'a str,
    list: RefCell<Vec<Problem>>,
}

impl Notes<'_> {
    fn add(&self, offset: usize, text: String) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.list.borrow_mut().push(Problem { line, column, text });
    }

    fn finish(self, file: &str) -> Problems {
        let mut list = self.list.into_inner();
        list.sort();
        list.dedup();
        let more = list.len().saturating_sub(MAX_PROBLEMS);
        list.truncate(MAX_PROBLEMS);
        if let (1.., Some(last)) = (more, list.last().cloned()) {
            list.push(Problem { text: format!("and {more} more mistakes"), ..last });
        }
        if list.is_empty() {
            list.push(Problem { line: 1, column: 1, text: "the file cannot be read".to_owned() });
        }
        Problems { file: file.to_owned(), list }
    }
}

/// A table that is being read. Every key that is asked for becomes a known one; the rest are mistakes.
pub struct Table<'a> {
    entries: &'a DeTable<'a>,
    span: Range<usize>,
    path: String,
    known: Vec<&'static str>,
    notes: &'a Notes<'a>,
}

impl<'a> Table<'a> {
    fn read<T>(
        table: &'a DeTable<'a>,
        span: Range<usize>,
        path: &str,
        notes: &'a Notes<'a>,
        f: impl FnOnce(&mut Table<'a>) -> T,
    ) -> T {
        let mut reader = Table { entries: table, span, path: path.to_owned(), known: Vec::new(), notes };
        let value = f(&mut reader);
        for (key, _) in table {
            let name = key.get_ref().as_ref();
            if !reader.known.contains(&name) {
                let place = if path.is_empty() { String::new() } else { format!(" in [{path}]") };
                let hint = hint(name, reader.known.iter().copied());
                notes.add(key.span().start, format!("unknown key \"{name}\"{place}{hint}"));
            }
        }
        value
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.entries.get(key)
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Is the key there?
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Is the key there? And it is no unknown one, whatever its value.
    pub fn has_known(&mut self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// Is the value under the key a table with nothing in it?
    pub fn is_empty(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|v| matches!(v.get_ref(), DeValue::Table(t) if t.is_empty()))
    }

    /// Reports a mistake at a key of this table, or at the table itself where the key is absent.
    pub fn problem(&self, key: &str, text: impl Into<String>) {
        let offset = self.entries.get_key_value(key).map_or(self.span.start, |(_, v)| v.span().start);
        self.notes.add(offset, text.into());
    }

    /// Reports that a key is missing.
    fn missing(&self, key: &str) {
        let text = format!("\"{}\" is missing", self.name(key));
        self.notes.add(self.span.start, text);
    }

    /// A text that `T` can be read from; its absence is a mistake.
    pub fn required<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.missing(key);
            return None;
        }
        self.optional(key)
    }

    /// A text that `T` can be read from.
    pub fn optional<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Option<T> {
        let value = self.find(key)?;
        self.parse(&self.name(key), value)
    }

    fn parse<T: FromStr<Err: fmt::Display>>(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let DeValue::String(text) = value.get_ref() else {
            self.mistyped(name, "a text in quotes", value);
            return None;
        };
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.notes.add(value.span().start, format!("{name}: {error}"));
                None
            }
        }
    }

    fn mistyped(&self, name: &str, wanted: &str, value: &Spanned<DeValue<'_>>) {
        let text = format!("{name} must be {wanted}, and is {}", describe(value.get_ref()));
        self.notes.add(value.span().start, text);
    }

    /// A text as it stands; its absence is a mistake, and so is an empty one.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let text: Option<String> = self.required(key);
        if text.as_deref().is_some_and(|t| t.trim().is_empty()) {
            self.problem(key, format!("{} must not be empty", self.name(key)));
            return None;
        }
        text
    }

    /// A whole number from 0.
    pub fn number<T: TryFrom<u64>>(&mut self, key: &'static str) -> Option<T> {
        let value = self.find(key)?;
        let read = match value.get_ref() {
            DeValue::Integer(i) => u64::from_str_radix(i.as_str(), i.radix()).ok().and_then(|n| T::try_from(n).ok()),
            _ => None,
        };
        if read.is_none() {
            let most = (u64::MAX >> 1).min(u64::MAX >> (64 - 8 * size_of::<T>().min(8)));
            self.mistyped(&self.name(key), &format!("a whole number from 0 to {most}"), value);
        }
        read
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.find(key)?;
        if let DeValue::Boolean(b) = value.get_ref() {
            return Some(*b);
        }
        self.mistyped(&self.name(key), "true or false", value);
        None
    }

    /// A list of texts, empty where the key is absent.
    pub fn list<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Vec<T> {
        let name = self.name(key);
        let Some(array) = self.array(key) else { return Vec::new() };
        array.iter().filter_map(|value| self.parse(&name, value)).collect()
    }

    /// Is the value under the key a list?
    pub fn is_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|v| matches!(v.get_ref(), DeValue::Array(_)))
    }

    fn array(&mut self, key: &'static str) -> Option<&'a DeArray<'a>> {
        let value = self.find(key)?;
        if let DeValue::Array(array) = value.get_ref() {
            return Some(array);
        }
        self.mistyped(&self.name(key), "a list", value);
        None
    }

    fn inner(&self, name: &str, value: &'a Spanned<DeValue<'a>>) -> Option<&'a DeTable<'a>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        self.mistyped(name, "a table", value);
        None
    }

    /// The table under a key.
    pub fn table<T>(&mut self, key: &'static str, f: impl FnOnce(&mut Table<'a>) -> T) -> Option<T> {
        let value = self.find(key)?;
        let name = self.name(key);
        let table = self.inner(&name, value)?;
        Some(Table::read(table, value.span(), &name, self.notes, f))
    }

    /// A list of tables, `[[key]]`, empty where the key is absent.
    pub fn tables<T>(&mut self, key: &'static str, mut f: impl FnMut(&mut Table<'a>) -> Option<T>) -> Vec<T> {
        let name = self.name(key);
        let Some(array) = self.array(key) else { return Vec::new() };
        let one = |value: &'a Spanned<DeValue<'a>>| {
            let table = self.inner(&name, value)?;
            Table::read(table, value.span(), &name, self.notes, &mut f)
        };
        array.iter().filter_map(one).collect()
    }

    /// A table whose keys are values of type `K` and whose values are tables.
    pub fn map<K, T>(&mut self, key: &'static str, mut f: impl FnMut(&K, &mut Table<'a>) -> Option<T>) -> BTreeMap<K, T>
    where
        K: FromStr<Err: fmt::Display> + Ord,
    {
        let mut map = BTreeMap::new();
        for (key, name, value) in self.entries(key) {
            let Some(table) = self.inner(&name, value) else { continue };
            let read = Table::read(table, value.span(), &name, self.notes, |t| f(&key, t));
            map.extend(read.map(|value| (key, value)));
        }
        map
    }

    /// A table whose keys and values are texts that `K` and `V` are read from.
    pub fn texts<K, V>(&mut self, key: &'static str) -> BTreeMap<K, V>
    where
        K: FromStr<Err: fmt::Display> + Ord,
        V: FromStr<Err: fmt::Display>,
    {
        let entries = self.entries(key);
        entries.into_iter().filter_map(|(k, name, v)| Some((k, self.parse(&name, v)?))).collect()
    }

    fn entries<K: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &'static str,
    ) -> Vec<(K, String, &'a Spanned<DeValue<'a>>)> {
        let name = self.name(key);
        let table = self.find(key).and_then(|value| self.inner(&name, value));
        let mut entries = Vec::new();
        for (key, value) in table.into_iter().flatten() {
            let text = key.get_ref().as_ref();
            match text.parse() {
                Ok(k) => entries.push((k, format!("{name}.{}", quoted(text)), value)),
                Err(error) => self.notes.add(key.span().start, format!("{name}: {error}")),
            }
        }
        entries
    }

    /// A free table, as JSON. Dates become texts.
    pub fn free(&mut self, key: &'static str) -> serde_json::Map<String, serde_json::Value> {
        let name = self.name(key);
        let table = self.find(key).and_then(|value| self.inner(&name, value));
        table.map(|t| self.json_table(t)).unwrap_or_default()
    }

    fn json_table(&self, table: &DeTable<'_>) -> serde_json::Map<String, serde_json::Value> {
        table.iter().map(|(k, v)| (k.get_ref().to_string(), self.json(v))).collect()
    }

    fn json(&self, value: &Spanned<DeValue<'_>>) -> serde_json::Value {
        match value.get_ref() {
            DeValue::String(s) => s.as_ref().into(),
            DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
                Ok(n) => n.into(),
                Err(_) => self.not_json(value, "the number is out of range"),
            },
            DeValue::Float(x) => match x.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
                Some(n) => n.into(),
                None => self.not_json(value, "only finite numbers can be passed on"),
            },
            DeValue::Boolean(b) => (*b).into(),
            DeValue::Datetime(d) => d.to_string().into(),
            DeValue::Array(a) => a.iter().map(|v| self.json(v)).collect(),
            DeValue::Table(t) => self.json_table(t).into(),
        }
    }

    fn not_json(&self, value: &Spanned<DeValue<'_>>, why: &str) -> serde_json::Value {
        self.notes.add(value.span().start, why.to_owned());
        serde_json::Value::Null
    }
}

fn quoted(key: &str) -> String {
    if key.contains('.') { format!("{key:?}") } else { key.to_owned() }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "another number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `: did you mean "name"?`, or the list of all where none is near.
pub(crate) fn hint<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    known.dedup();
    let nearest = known.iter().map(|k| (distance(name, k), *k)).min();
    match nearest {
        Some((d, k)) if d <= 2.max(k.len() / 3) => format!(": did you mean \"{k}\"?"),
        Some(_) => format!(": known are {}", known.join(", ")),
        None => String::new(),
    }
}

/// Edit distance with neighbours swapped counted as one (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    let at =
        |rows: &[Vec<usize>], i: usize, j: usize| rows.get(i).and_then(|r| r.get(j)).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = at(&rows, i, j) + usize::from(x != y);
            let gap = at(&rows, i, j + 1).min(row.last().copied().unwrap_or(i + 1)) + 1;
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            let swap = if swapped { at(&rows, i - 1, j - 1) + 1 } else { usize::MAX };
            row.push(change.min(gap).min(swap));
        }
        rows.push(row);
    }
    at(&rows, a.len(), b.len())
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
