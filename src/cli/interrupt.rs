//! Signals, heard by a thread of its own: all workers of the runtime may be busy computing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::engine::session::copy_target::remove_staged;

/// How long an interrupted statement may take to clean up.
pub const CLEANUP_GRACE: Duration = Duration::from_millis(100);

/// How long an ending program may take to roll its transactions back.
const END: Duration = Duration::from_secs(60);

static HEARD: OnceLock<Sender<()>> = OnceLock::new();
static CODE: AtomicU8 = AtomicU8::new(130);
static IN_SHELL: AtomicBool = AtomicBool::new(false);
static ENDING: AtomicBool = AtomicBool::new(false);

/// The program ends now: signals do not interrupt it any more, for a transaction may have to be rolled back.
pub fn end() {
    ENDING.store(true, Ordering::SeqCst);
}

/// Whether the program ends.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Whether the program goes on after the signal that was heard: after Ctrl-C in the shell.
pub fn is_survived() -> bool {
    IN_SHELL.load(Ordering::SeqCst) && code() == 130
}

/// The code that an interrupted program ends with.
pub fn code() -> u8 {
    CODE.load(Ordering::Relaxed)
}

/// Ends the program at once.
fn exit_now() -> ! {
    remove_staged();
    std::process::exit(code().into())
}

/// Begins to listen; a Ctrl-C that nobody takes ends the program, or in the shell does nothing. SIGTERM, and SIGHUP where
/// nohup does not say otherwise, end it when the statement that runs has cleaned up.
pub fn listen(in_shell: bool) {
    IN_SHELL.store(in_shell, Ordering::SeqCst);
    let sender = HEARD.get_or_init(|| channel(1).0);
    std::thread::spawn(move || {
        // Without a runtime or a handler, signals end the program as they do by themselves.
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut signals) = signal(SignalKind::interrupt()) else { return };
            let Ok(mut terminations) = signal(SignalKind::terminate()) else { return };
            let mut hangups = hears_hangup().then(|| signal(SignalKind::hangup()).ok()).flatten();
            let mut first = None;
            loop {
                tokio::select! {
                    _ = signals.recv() => {
                        // The one before may wait for a statement that looks at nothing.
                        let is_unheard = !sender.is_empty();
                        let is_stuck = sender.send(()).is_err() || is_unheard;
                        if is_stuck && !in_shell && !is_ending() {
                            exit_now();
                        }
                    }
                    code = ends(&mut terminations, &mut hangups) => {
                        CODE.store(code, Ordering::Relaxed);
                        if sender.send(()).is_ok() {
                            tokio::time::sleep(2 * CLEANUP_GRACE).await;
                        }
                        if !is_ending() {
                            exit_now();
                        }
                    }
                }
                if is_ending() && first.get_or_insert_with(Instant::now).elapsed() > END {
                    exit_now();
                }
            }
        });
    });
}

/// The code of the next signal that ends the program.
async fn ends(terminations: &mut Signal, hangups: &mut Option<Signal>) -> u8 {
    let hangup = async {
        match hangups {
            Some(hangups) => hangups.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminations.recv() => 143,
        _ = hangup => 129,
    }
}

/// Whether a SIGHUP (signal 1) would be heard, as Linux tells.
fn hears_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored & 1 == 0)
}

/// Yields the next Ctrl-C, or another signal that ends the program.
pub fn interrupts() -> Receiver<()> {
    HEARD.get_or_init(|| channel(1).0).subscribe()
}
