//! The time inside a core.

use std::time::Duration;

/// Time that only goes forward, whatever the caller's clock does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    last: Option<Duration>,
    /// Since the core began.
    pub(super) now: Duration,
}

impl Clock {
    pub(super) fn advance(&mut self, now: Duration) {
        self.now += now.saturating_sub(self.last.unwrap_or(now));
        self.last = Some(now);
    }

    /// The caller's time at `at`.
    pub(super) fn outside(&self, at: Duration) -> Duration {
        self.last.unwrap_or_default() + at.saturating_sub(self.now)
    }
}
