//! Ctrl-C, heard by a thread of its own: all workers of the runtime may be busy computing.

use std::sync::OnceLock;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::{Receiver, Sender, channel};

static HEARD: OnceLock<Sender<()>> = OnceLock::new();

/// Begins to listen; a Ctrl-C that nobody takes ends the program, or in the shell does nothing.
pub fn listen(in_shell: bool) {
    let sender = HEARD.get_or_init(|| channel(1).0);
    std::thread::spawn(move || {
        // Without a runtime or a handler, Ctrl-C ends the program as it does by itself.
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut signals) = signal(SignalKind::interrupt()) else { return };
            while signals.recv().await.is_some() {
                // The one before may wait for a statement that looks at nothing.
                let is_unheard = !sender.is_empty();
                if (sender.send(()).is_err() || is_unheard) && !in_shell {
                    std::process::exit(130);
                }
            }
        });
    });
}

/// Yields the next Ctrl-C.
pub fn interrupts() -> Receiver<()> {
    HEARD.get_or_init(|| channel(1).0).subscribe()
}
