//! What is believed of one API server, after what checks and connections met. Pure.

use std::time::Duration;

/// Between two checks of a server that is healthy: a hung one is found within 5 s, which is half of what kubelet
/// gives a request to renew its lease.
pub(super) const CALM: Duration = Duration::from_secs(2);

/// Between two checks of any other. Each takes a TLS handshake of a server that may just be starting; and when no
/// server is healthy, connections try them all without waiting for a check.
pub(super) const EAGER: Duration = Duration::from_secs(2);

/// Failed checks in a row after which a server is down. One is not enough: an emulated machine that starts
/// containers leaves a good server without a processor for a second.
const STRIKES: u8 = 2;

/// What a check or a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// An API server answered.
    Alive,
    /// Nobody listens there. There is no doubt in that, so it counts at once.
    Refused,
    /// Nothing came in time, or not what an API server says.
    Silent,
}

/// What is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// It was never known to be healthy or down.
    Unknown,
    /// It answers.
    Healthy,
    /// It does not.
    Down,
}

/// The state of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Health {
    belief: Belief,
    strikes: u8,
}

impl Health {
    /// Of a server that nothing is known of.
    pub(super) fn unknown() -> Self {
        Health {
            belief: Belief::Unknown,
            strikes: 0,
        }
    }

    pub(super) fn belief(&self) -> Belief {
        self.belief
    }

    /// Takes a finding in; says whether the belief changed.
    pub(super) fn observe(&mut self, finding: Finding) -> bool {
        let before = self.belief;
        self.strikes = match finding {
            Finding::Alive => 0,
            Finding::Refused => STRIKES,
            Finding::Silent => self.strikes.saturating_add(1).min(STRIKES),
        };
        self.belief = match self.strikes {
            0 => Belief::Healthy,
            STRIKES => Belief::Down,
            _ => before,
        };
        self.belief != before
    }

    /// How long to wait until the next check.
    pub(super) fn pause(&self) -> Duration {
        match (self.belief, self.strikes) {
            (Belief::Healthy, 0) => CALM,
            _ => EAGER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Belief::{Down, Healthy, Unknown};
    use super::Finding::{Alive, Refused, Silent};
    use super::{CALM, EAGER, Health};

    #[test]
    fn beliefs_follow_findings() {
        for (findings, expected, pause) in [
            (&[][..], Unknown, EAGER),
            (&[Alive], Healthy, CALM),
            (&[Refused], Down, EAGER),
            (&[Silent], Unknown, EAGER),
            (&[Silent, Silent], Down, EAGER),
            (&[Alive, Silent], Healthy, EAGER),
            (&[Alive, Silent, Silent], Down, EAGER),
            (&[Alive, Silent, Alive, Silent], Healthy, EAGER),
            (&[Alive, Silent, Alive], Healthy, CALM),
            (&[Alive, Refused], Down, EAGER),
            (&[Refused, Silent, Silent, Silent], Down, EAGER),
            (&[Refused, Alive], Healthy, CALM),
            (&[Alive, Silent, Refused, Alive, Silent], Healthy, EAGER),
        ] {
            let mut health = Health::unknown();
            for finding in findings {
                let before = health.belief();
                assert_eq!(health.observe(*finding), health.belief() != before);
            }
            assert_eq!(health.belief(), expected, "{findings:?}");
            assert_eq!(health.pause(), pause, "{findings:?}");
        }
    }
}
