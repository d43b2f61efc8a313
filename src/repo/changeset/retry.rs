//! Retries after conflicts with other writers.

use std::time::Duration;

use crate::error::{Error, Kind};

/// Maximum number of attempts to apply a change set when another writer holds a lock.
const MAX_ATTEMPTS: u32 = 6;

/// Counts the attempts that failed because of another writer.
#[derive(Debug, Default)]
pub(super) struct RetryPolicy(u32);

impl RetryPolicy {
    /// Returns true if another attempt may succeed, after a pause that doubles each time.
    pub(super) async fn should_retry(&mut self, error: &Error) -> bool {
        self.0 += 1;
        // Another writer may have inserted the same row in the meantime; a real conflict fails again.
        let worth = error.kind() == Kind::Busy || (error.kind() == Kind::Conflict && self.0 == 1);
        if !worth || self.0 >= MAX_ATTEMPTS {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20 << self.0)).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn retries(kind: Kind) -> u32 {
        let mut policy = RetryPolicy::default();
        let mut count = 0;
        while policy.should_retry(&Error::new(kind, "another writer")).await {
            count += 1;
        }
        count
    }

    #[tokio::test]
    async fn locks_are_waited_for_and_conflicts_tried_once_more() {
        assert_eq!(retries(Kind::Busy).await, MAX_ATTEMPTS - 1);
        assert_eq!(retries(Kind::Conflict).await, 1);
        for never in [Kind::Invalid, Kind::Unreachable, Kind::Interrupted, Kind::Bug] {
            assert_eq!(retries(never).await, 0, "{never:?}");
        }
    }
}
