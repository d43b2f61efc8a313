//! The program: arguments to `cli`, its code to the caller.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    one_heap();
    butlersql::cli::main()
}

/// Has all threads share one heap. glibc gives each its own, and what a thread has freed there hardly ever serves another.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn one_heap() {
    // SAFETY: no other thread runs yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}
