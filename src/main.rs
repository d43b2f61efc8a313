//! The program: arguments to `cli`, its code to the caller.

use std::process::ExitCode;

fn main() -> ExitCode {
    butlersql::cli::main()
}
