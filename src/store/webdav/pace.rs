//! No more requests a second than a door takes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many requests may come at once after a pause.
const BURST: u32 = 20;

/// Gives each request its time.
#[derive(Debug)]
pub struct Pace {
    gap: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// At most `rate` requests a second; nothing for no limit.
    pub fn new(rate: Option<f64>) -> Self {
        let gap = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate.max(0.001)));
        Self { gap, next: Mutex::new(Instant::now()) }
    }

    /// Waits until the next request may be sent.
    pub async fn turn(&self) {
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = Instant::now().checked_sub(self.gap * BURST);
            let at = earliest.map_or(*next, |earliest| (*next).max(earliest));
            *next = at + self.gap;
            at
        };
        tokio::time::sleep_until(at).await;
    }

    /// Nobody sends for so long: the door has said that it is too much.
    pub fn hold(&self, pause: Duration) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).max(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_keep_their_distance() {
        let begin = Instant::now();
        let pace = Pace::new(Some(100.0));
        for _ in 0..=100 {
            pace.turn().await;
        }
        let taken = begin.elapsed();
        assert!((Duration::from_millis(790)..Duration::from_millis(1010)).contains(&taken), "{taken:?}");
        pace.hold(Duration::from_secs(5));
        pace.turn().await;
        assert!(begin.elapsed() > Duration::from_millis(5700));
        let free = Pace::new(None);
        let begin = Instant::now();
        for _ in 0..1000 {
            free.turn().await;
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
