//! What a command answers: words for a person, or one JSON object for a program.

use std::error::Error as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::error::Error;

/// The answer of a command that did what was asked.
#[derive(Debug)]
pub struct Report {
    /// For a person, without the last line's end.
    pub text: String,
    /// For a program: an object.
    pub json: Value,
}

/// Tells a person what is going on.
pub fn progress(text: &str) {
    // Nobody listening is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints the outcome and gives the exit code.
pub fn finish(outcome: Result<Report, Error>, as_json: bool) -> ExitCode {
    let (code, text, json) = match outcome {
        Ok(Report { text, json }) => (ExitCode::SUCCESS, text, json),
        Err(error) => {
            if !as_json {
                progress(&format!("error: {}", chain(&error).join("\n  because ")));
                return error.exit();
            }
            let words = chain(&error);
            let (message, causes) = words.split_first().map_or(("", &[][..]), |(m, c)| (m.as_str(), c));
            (
                error.exit(),
                String::new(),
                json!({ "error": { "message": message, "causes": causes, "code": error.code() } }),
            )
        }
    };
    let line = if as_json { json.to_string() } else { text };
    match writeln!(std::io::stdout().lock(), "{line}") {
        Ok(()) => code,
        // The reader went away, as `head` does.
        Err(_) => ExitCode::FAILURE,
    }
}

/// The texts of an error and of what caused it.
pub fn chain(error: &Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}
