//! Limits the number of requests per second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Number of requests that may be sent at once after an idle period.
const BURST: u32 = 20;

/// Spaces out requests.
#[derive(Debug)]
pub(super) struct RateLimiter {
    gap: Duration,
    next: Mutex<Instant>,
}

impl RateLimiter {
    /// Creates a limiter of `rate` requests per second; `None` is no limit.
    pub(super) fn new(rate: Option<f64>) -> Self {
        let gap = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate.max(0.001)));
        Self { gap, next: Mutex::new(Instant::now()) }
    }

    /// Waits until the next request may be sent.
    pub(super) async fn acquire(&self) {
        tokio::time::sleep_until(self.take(Instant::now())).await;
    }

    /// Reserves the next slot for a request that is ready at `now`, and returns its time.
    fn take(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(self.gap * BURST);
        let at = earliest.map_or(*next, |earliest| (*next).max(earliest));
        *next = at + self.gap;
        at
    }

    /// Delays all requests by `pause`, after the server has reported an overload.
    pub(super) fn pause(&self, pause: Duration) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).max(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_their_distance() {
        let rate_limiter = RateLimiter::new(Some(100.0));
        let begin = Instant::now();
        let mut now = begin;
        for _ in 0..=100 {
            now = now.max(rate_limiter.take(now));
        }
        let taken = now - begin;
        assert!((Duration::from_millis(790)..Duration::from_millis(1010)).contains(&taken), "{taken:?}");
        rate_limiter.pause(Duration::from_secs(5));
        assert!(rate_limiter.take(now) - begin > Duration::from_millis(4900));
        let free = RateLimiter::new(None);
        assert!((0..1000).all(|_| free.take(now) <= now));
    }
}
