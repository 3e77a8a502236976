//! The compiling child by itself, for programs that embed the runtime and for its tests; the `fondaco` program has it
//! built in.

use std::process::ExitCode;

fn main() -> ExitCode {
    match fondaco_runtime::compile_stdin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
