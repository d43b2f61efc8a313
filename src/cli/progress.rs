//! Progress of long operations on standard error: a bar on a terminal, a JSON line a second elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::progress::{Progress, Silent, Step};

/// The display fit for where standard error goes.
pub fn display(quiet: bool) -> Arc<dyn Progress> {
    match (quiet, std::io::stderr().is_terminal()) {
        (true, _) => Arc::new(Silent),
        (false, true) => Arc::new(Bars),
        (false, false) => Arc::new(Lines),
    }
}

struct Bars;

struct Bar {
    bar: ProgressBar,
    bytes: AtomicU64,
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn Step> {
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
        Box::new(Bar { bar, bytes: AtomicU64::new(0) })
    }
}

impl Step for Bar {
    fn add(&self, items: u64, bytes: u64) {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.set_message(indicatif::HumanBytes(bytes).to_string());
        self.bar.inc(items);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

struct Lines;

struct Line {
    what: String,
    begun: Instant,
    items: AtomicU64,
    bytes: AtomicU64,
    told: Mutex<Instant>,
}

impl Progress for Lines {
    fn begin(&self, what: &str, _total: Option<u64>) -> Box<dyn Step> {
        let now = Instant::now();
        let (items, bytes) = Default::default();
        Box::new(Line { what: what.to_owned(), begun: now, items, bytes, told: Mutex::new(now) })
    }
}

impl Step for Line {
    fn add(&self, items: u64, bytes: u64) {
        let items = self.items.fetch_add(items, Ordering::Relaxed) + items;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= Duration::from_secs(1) {
            *told = Instant::now();
            let seconds = self.begun.elapsed().as_secs();
            let line = serde_json::json!({"doing": self.what, "files": items, "bytes": bytes, "seconds": seconds});
            eprintln!("{line}");
        }
    }
}
