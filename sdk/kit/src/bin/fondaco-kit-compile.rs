//! The compiling child by itself, for the kit's own tests; `cargo fondaco` has it built in.

use std::process::ExitCode;

fn main() -> ExitCode {
    match fondaco_kit::compile_stdin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
