//! The program: arguments to `cli`, its code to the caller.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    use_single_malloc_arena();
    butlersql::cli::main()
}

/// Has all threads share one heap, unless the user says otherwise. glibc gives each its own, and what was freed there hardly
/// ever serves another: twice the memory. The price is a lock for larger pieces, of which Arrow needs few.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn use_single_malloc_arena() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
}
