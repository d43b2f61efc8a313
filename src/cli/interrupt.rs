//! Signal handling, in a separate thread because all workers of the runtime may be busy.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast::{Receiver, Sender, channel};

use crate::engine::session::copy_target::StagedOutputs;

/// The time an interrupted statement gets to clean up.
pub(super) const CLEANUP_GRACE: Duration = Duration::from_millis(100);

/// The time an ending program gets to roll back its transactions.
const END: Duration = Duration::from_secs(60);

static HEARD: OnceLock<Sender<()>> = OnceLock::new();
static CODE: AtomicU8 = AtomicU8::new(130);
static IN_SHELL: AtomicBool = AtomicBool::new(false);
static ENDING: AtomicBool = AtomicBool::new(false);
static STAGED: Mutex<Vec<StagedOutputs>> = Mutex::new(Vec::new());

/// Marks the program as ending: signals no longer interrupt it, because a transaction may be rolling back.
pub(super) fn end() {
    ENDING.store(true, Ordering::SeqCst);
}

/// Returns true if the program is ending.
pub(super) fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Returns true if the program continues after the last signal, as after Ctrl-C in the shell.
pub(super) fn is_survived() -> bool {
    IN_SHELL.load(Ordering::SeqCst) && code() == 130
}

/// Returns the exit code of an interrupted program: 128 plus the number of the signal.
pub(super) fn code() -> u8 {
    CODE.load(Ordering::Relaxed)
}

/// Registers staged output that is removed before the program exits.
pub(super) fn clean_up(staged: StagedOutputs) {
    STAGED.lock().unwrap_or_else(PoisonError::into_inner).push(staged);
}

/// Removes the staged output of all sessions.
pub(super) fn remove_staged() {
    STAGED.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(StagedOutputs::remove_all);
}

/// Removes staged files and exits immediately.
fn exit_now() -> ! {
    remove_staged();
    std::process::exit(code().into())
}

/// Starts the signal thread. A Ctrl-C without a receiver ends the program; in the shell it has no effect. SIGTERM and,
/// unless it is ignored (nohup), SIGHUP end the program after the running statement has cleaned up.
pub(super) fn listen(in_shell: bool) {
    IN_SHELL.store(in_shell, Ordering::SeqCst);
    let sender = HEARD.get_or_init(|| channel(1).0);
    std::thread::spawn(move || {
        // Without a runtime or a handler, signals keep their default action.
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut signals) = signal(SignalKind::interrupt()) else { return };
            let Ok(mut terminations) = signal(SignalKind::terminate()) else { return };
            let mut hangups = hears_hangup().then(|| signal(SignalKind::hangup()).ok()).flatten();
            let mut first = None;
            loop {
                tokio::select! {
                    _ = signals.recv() => {
                        // A pending earlier signal means that the statement does not react to it.
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

/// Waits for SIGTERM or SIGHUP and returns the exit code.
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

/// Returns true if SIGHUP (signal 1) is not ignored, according to `/proc/self/status`.
fn hears_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored & 1 == 0)
}

/// Subscribes to Ctrl-C and the signals that end the program.
pub(super) fn interrupts() -> Receiver<()> {
    HEARD.get_or_init(|| channel(1).0).subscribe()
}
