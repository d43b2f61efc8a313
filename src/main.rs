//! The program `butlersql`: it calls `cli::main` and returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    use_single_malloc_arena();
    butlersql::cli::main()
}

/// Makes all threads share one malloc arena, unless `MALLOC_ARENA_MAX` is set. By default glibc uses several arenas and
/// rarely reuses memory freed in another one, which doubles the memory use. The cost is a lock for larger allocations,
/// of which Arrow makes few.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn use_single_malloc_arena() {
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
}
