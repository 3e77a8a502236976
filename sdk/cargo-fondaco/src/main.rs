//! `cargo fondaco`: makes, builds, tries, tests, packs, signs and verifies plugins, on the author's machine. It talks to
//! no node but the one that `dev` starts, and to no network of its own; cargo and rustup may fetch what a build lacks.
//!
//! The answer goes to standard output (with `--json` as one object), progress to standard error.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

mod cargo;
mod cli;
mod component;
mod contents;
mod dev;
mod error;
mod files;
mod javascript;
mod key;
mod lang;
mod new;
mod outside;
mod pack;
mod python;
mod rebuild;
mod report;
mod sign;
mod template;
mod test;
mod verify;

use cli::{Cli, Command, KeyCommand};
use error::Error;
use report::Report;

fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments(std::env::args_os()));
    match &cli.command {
        Command::Test(options) => test::run(options, cli.json),
        Command::Dev(options) => dev::run(options),
        Command::CompilePlugin => test::compile(),
        command => report::finish(run(command), cli.json),
    }
}

/// Cargo starts `cargo-fondaco fondaco …`, an alias or a shell starts `cargo-fondaco …`: the same from here on.
fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.collect();
    if arguments.get(1).is_some_and(|first| first == "fondaco") {
        arguments.remove(1);
    }
    arguments
}

fn run(command: &Command) -> Result<Report, Error> {
    match command {
        Command::New(options) => new::run(options),
        Command::Build(options) => component::run(options),
        Command::Pack(options) => pack::run(options),
        Command::Sign(options) => sign::run(options),
        Command::Verify(options) => verify::run(options),
        // These print as they go, or are another program's; `main` has them.
        Command::Test(_) | Command::Dev(_) | Command::CompilePlugin => {
            Ok(Report { text: String::new(), json: serde_json::Value::Null })
        }
        Command::Key { command: KeyCommand::New { out } } => key::create(out),
        Command::Key { command: KeyCommand::Show { file } } => key::show(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_arguments_with_and_without_the_word_that_cargo_puts_first() {
        let words = |text: &str| arguments(text.split(' ').map(OsString::from));
        assert_eq!(words("cargo-fondaco fondaco key show k"), words("cargo-fondaco key show k"));
        assert_eq!(words("cargo-fondaco new fondaco").len(), 3, "only the first word is cargo's");
    }
}
