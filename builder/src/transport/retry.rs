//! Which failures are tried again, how often, and after how long.

use super::TransportError;
use std::time::Duration;

/// How often a request that failed for a passing reason is tried in all.
const TRIES: u32 = 4;
/// How much longer each pause is than the one before.
const LONGER: u32 = 3;
/// Longest pause that a server may ask for. Whoever asks for more is not waited for: rate limits of hours would
/// look like a hang.
const LONGEST: Duration = Duration::from_secs(90);
/// Bytes that count as progress: a download that got so far since its last failure starts counting anew.
const PROGRESS: u64 = 1 << 20;

/// The tries that are left for one request.
#[derive(Clone, Debug)]
pub struct Patience {
    first: Duration,
    pause: Duration,
    left: u32,
}

impl Patience {
    /// With `pause` before the second try.
    pub(super) fn new(pause: Duration) -> Self {
        Patience {
            first: pause,
            pause,
            left: TRIES - 1,
        }
    }

    /// `bytes` came before it failed.
    pub(crate) fn came(&mut self, bytes: u64) {
        if bytes >= PROGRESS {
            *self = Patience::new(self.first);
        }
    }

    /// How long to wait after `error`, or the error if waiting does not help or was tried enough.
    pub(crate) fn pause(&mut self, error: TransportError) -> anyhow::Result<Duration> {
        if self.left == 0 || !error.is_passing() {
            return Err(error.into());
        }
        let pause = match &error {
            TransportError::Status {
                retry_after: Some(pause),
                ..
            } if *pause > LONGEST => {
                let most = LONGEST.as_secs();
                let why = format!("it is not waited for longer than {most} s: try again later");
                return Err(anyhow::Error::new(error).context(why));
            }
            TransportError::Status {
                retry_after: Some(pause),
                ..
            } => *pause,
            _ => self.pause,
        };
        tracing::debug!("{:#}; trying again in {pause:?}", anyhow::anyhow!(error));
        self.left -= 1;
        self.pause *= LONGER;
        Ok(pause)
    }

    /// Waits before the next try, or gives the error.
    pub(crate) fn wait(&mut self, error: TransportError) -> anyhow::Result<()> {
        std::thread::sleep(self.pause(error)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> TransportError {
        TransportError::Status {
            url: "https://h.example".into(),
            status,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    /// R019, R124.
    #[test]
    fn passing_failures_are_tried_a_bounded_number_of_times() {
        let mut patience = Patience::new(Duration::from_secs(1));
        let pauses = [503, 429, 500].map(|code| patience.pause(status(code, None)).unwrap());
        assert_eq!(pauses.map(|pause| pause.as_secs()), [1, 3, 9]);
        patience.pause(status(503, None)).unwrap_err();
        patience.came(PROGRESS);
        patience.pause(status(503, None)).unwrap();
    }

    /// R124.
    #[test]
    fn a_server_says_how_long_to_wait_within_reason() {
        let mut patience = Patience::new(Duration::from_secs(1));
        let pause = patience.pause(status(429, Some(7))).unwrap();
        assert_eq!(pause.as_secs(), 7);
        let error = format!("{:#}", patience.pause(status(429, Some(3600))).unwrap_err());
        assert!(error.contains("asks to wait 3600 s"), "{error}");
        assert!(patience.pause(status(418, Some(1))).is_err());
    }
}
