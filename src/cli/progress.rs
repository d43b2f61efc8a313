//! Progress of long operations on standard error: a bar on a terminal, otherwise one JSON line per second.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::progress::{Progress, ProgressTask, Silent};

/// Chooses the display: nothing, bars on a terminal, or JSON lines.
pub(super) fn display(quiet: bool) -> Arc<dyn Progress> {
    match (quiet, std::io::stderr().is_terminal()) {
        (true, _) => Arc::new(Silent),
        (false, true) => Arc::new(Bars),
        (false, false) => Arc::new(Lines),
    }
}

/// The counters of a running operation and their display.
struct Running<S> {
    folders: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    shown: S,
}

/// Displays the numbers of folders, files and bytes.
trait Show: Send + Sync {
    fn show(&self, done: [u64; 3]);
}

impl<S: Show> Running<S> {
    fn new(shown: S) -> Box<Self> {
        let (folders, files, bytes) = Default::default();
        Box::new(Self { folders, files, bytes, shown })
    }

    fn show_progress(&self) {
        self.shown.show([&self.folders, &self.files, &self.bytes].map(|n| n.load(Ordering::Relaxed)));
    }
}

impl<S: Show> ProgressTask for Running<S> {
    fn add(&self, items: u64, bytes: u64) {
        self.files.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.show_progress();
    }

    fn add_folders(&self, folders: u64) {
        self.folders.fetch_add(folders, Ordering::Relaxed);
        self.show_progress();
    }
}

struct Bars;

struct Bar(ProgressBar);

impl Progress for Bars {
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn ProgressTask> {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        let template = if total.is_some() {
            "{prefix} {bar:30} {pos}/{len} {per_sec} {msg} {eta}"
        } else {
            "{spinner} {prefix} {pos} files {per_sec} {msg} {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Running::new(Bar(bar))
    }
}

impl Show for Bar {
    fn show(&self, [folders, files, bytes]: [u64; 3]) {
        let bytes = indicatif::HumanBytes(bytes);
        self.0.set_position(files);
        self.0.set_message(match folders {
            0 => bytes.to_string(),
            folders => format!("{folders} folders {bytes}"),
        });
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

struct Lines;

struct Line {
    what: String,
    begun: Instant,
    shown_at: Mutex<Instant>,
}

impl Progress for Lines {
    fn begin(&self, what: &str, _total: Option<u64>) -> Box<dyn ProgressTask> {
        let now = Instant::now();
        Running::new(Line { what: what.to_owned(), begun: now, shown_at: Mutex::new(now) })
    }
}

impl Show for Line {
    fn show(&self, [folders, files, bytes]: [u64; 3]) {
        let mut shown_at = self.shown_at.lock().unwrap_or_else(PoisonError::into_inner);
        if shown_at.elapsed() < Duration::from_secs(1) {
            return;
        }
        *shown_at = Instant::now();
        let seconds = self.begun.elapsed().as_secs_f64();
        let line = serde_json::json!({
            "operation": self.what, "folders": folders, "files": files, "bytes": bytes, "seconds": seconds as u64,
            "files_per_second": (files as f64 / seconds) as u64,
        });
        eprintln!("{line}");
    }
}
