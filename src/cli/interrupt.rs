//! Signals, heard by a thread of its own: all workers of the runtime may be busy computing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::{Receiver, Sender, channel};

/// How long an interrupted statement may take to clean up.
pub const LEAVE: Duration = Duration::from_millis(100);

static HEARD: OnceLock<Sender<()>> = OnceLock::new();
static CODE: AtomicU8 = AtomicU8::new(130);

/// The code that an interrupted program ends with.
pub fn code() -> u8 {
    CODE.load(Ordering::Relaxed)
}

/// Begins to listen; a Ctrl-C that nobody takes ends the program, or in the shell does nothing. A SIGTERM ends it when
/// the statement that runs has cleaned up.
pub fn listen(in_shell: bool) {
    let sender = HEARD.get_or_init(|| channel(1).0);
    std::thread::spawn(move || {
        // Without a runtime or a handler, signals end the program as they do by themselves.
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut signals) = signal(SignalKind::interrupt()) else { return };
            let Ok(mut terminations) = signal(SignalKind::terminate()) else { return };
            loop {
                tokio::select! {
                    _ = signals.recv() => {
                        // The one before may wait for a statement that looks at nothing.
                        let is_unheard = !sender.is_empty();
                        if (sender.send(()).is_err() || is_unheard) && !in_shell {
                            std::process::exit(code().into());
                        }
                    }
                    _ = terminations.recv() => {
                        CODE.store(143, Ordering::Relaxed);
                        if sender.send(()).is_ok() {
                            tokio::time::sleep(2 * LEAVE).await;
                        }
                        std::process::exit(code().into());
                    }
                }
            }
        });
    });
}

/// Yields the next Ctrl-C, or a SIGTERM.
pub fn interrupts() -> Receiver<()> {
    HEARD.get_or_init(|| channel(1).0).subscribe()
}
