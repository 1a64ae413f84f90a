//! The engine: one loop for every phase. Look; if it is not done, apply; look again.
//!
//! Each phase runs on a thread of its own as soon as those of the phases that it names in `after` which the plan has
//! are done, so that waiting for one service and preparing the next overlap. The plan may grow while it runs. Retries, their pauses and the classification of
//! troubles are here and nowhere else.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contract::journal::Step;
use contract::status::{PhaseStatus, Progress};

use crate::host::Host;
use crate::journal::Journal;
use crate::phase::{Phase, State, Trouble};

/// Between two looks at something that shows by itself.
const POLL: Duration = Duration::from_millis(400);
/// First pause after a failure; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Called after every transition with all phases.
pub type Publish<'a> = &'a (dyn Fn(&[PhaseStatus]) + Sync);

/// Runs a plan on a host.
pub struct Engine<'a> {
    host: &'a dyn Host,
    journal: &'a Journal,
    publish: Publish<'a>,
    board: Mutex<Vec<PhaseStatus>>,
    moved: Condvar,
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

impl<'a> Engine<'a> {
    /// An engine that has nothing to do yet.
    pub fn new(host: &'a dyn Host, journal: &'a Journal, publish: Publish<'a>) -> Self {
        Engine {
            host,
            journal,
            publish,
            board: Mutex::default(),
            moved: Condvar::new(),
        }
    }

    /// Runs until every phase is done: those of `first`, and as soon as its phase `certain` is done, those that
    /// `then` gives. A phase that fails for good is looked at again from time to time, since somebody may mend
    /// what is wrong.
    pub fn run<'p>(
        &self,
        first: &'p [&'p dyn Phase],
        certain: &str,
        then: impl FnOnce() -> &'p [&'p dyn Phase],
    ) {
        std::thread::scope(|scope| {
            let begin = |plan: &'p [&'p dyn Phase]| {
                self.put_up(plan);
                for phase in plan {
                    scope.spawn(|| {
                        self.wait_for(phase.after());
                        self.drive(*phase);
                    });
                }
            };
            begin(first);
            self.wait_for(&[certain]);
            begin(then());
        });
        self.journal.record(self.host, "machine", Step::Ready, "");
    }

    /// Puts the phases of a plan on the board.
    fn put_up(&self, plan: &[&dyn Phase]) {
        let mut board = self.board();
        board.extend(plan.iter().map(|phase| PhaseStatus {
            name: phase.name().to_owned(),
            state: Progress::Pending,
            why: None,
            applied: 0,
            started: None,
            finished: None,
        }));
        (self.publish)(&board);
    }

    /// The loop. Returns when the phase is done.
    fn drive(&self, phase: &dyn Phase) {
        let now = self.host.uptime().as_secs_f64();
        self.change(phase, |status| {
            status.state = Progress::Working;
            status.started = Some(now);
        });
        let mut pause = FIRST_PAUSE;
        loop {
            match self.step(phase) {
                Ok(true) => return,
                Ok(false) => self.host.sleep(POLL),
                Err(Trouble::Waiting(why)) => {
                    self.note(phase, Progress::Waiting, Step::Waiting, &why);
                    self.host.sleep(POLL);
                }
                Err(trouble @ Trouble::Transient(_)) => {
                    self.note(phase, Progress::Retrying, Step::Retry, &trouble.to_string());
                    self.host.sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(trouble @ Trouble::Permanent(_)) => {
                    self.note(phase, Progress::Failed, Step::Failed, &trouble.to_string());
                    self.host.sleep(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Look, apply, look again. `Ok(true)` when done.
    fn step(&self, phase: &dyn Phase) -> Result<bool, Trouble> {
        let why = match phase.observe(self.host)? {
            State::Done => return Ok(self.finish(phase)),
            State::Absent => String::new(),
            State::Partial(why) => why,
        };
        self.applying(phase, &why);
        phase.apply(self.host)?;
        match phase.observe(self.host)? {
            State::Done => Ok(self.finish(phase)),
            State::Absent => Err(Trouble::Transient(anyhow::anyhow!(
                "it was applied without an error, and nothing of it is there"
            ))),
            State::Partial(why) => Err(Trouble::Waiting(why)),
        }
    }

    fn finish(&self, phase: &dyn Phase) -> bool {
        self.journal.record(self.host, phase.name(), Step::Done, "");
        let now = self.host.uptime().as_secs_f64();
        self.change(phase, |status| {
            status.state = Progress::Done;
            status.why = None;
            status.finished = Some(now);
        });
        true
    }

    /// A phase that merely waits is applied again and again; the journal has the first time only.
    fn applying(&self, phase: &dyn Phase, why: &str) {
        let mut first = false;
        self.change(phase, |status| {
            first = status.state == Progress::Working && status.applied == 0
                || matches!(status.state, Progress::Retrying | Progress::Failed);
            status.applied = status.applied.saturating_add(1);
        });
        if first {
            self.journal
                .record(self.host, phase.name(), Step::Apply, why);
        }
    }

    /// Records a trouble when it is a new one.
    fn note(&self, phase: &dyn Phase, state: Progress, event: Step, why: &str) {
        let mut new = false;
        self.change(phase, |status| {
            new = status.state != state || status.why.as_deref() != Some(why);
            status.state = state;
            status.why = Some(why.to_owned());
        });
        if new {
            self.journal.record(self.host, phase.name(), event, why);
        }
    }

    fn change(&self, phase: &dyn Phase, change: impl FnOnce(&mut PhaseStatus)) {
        let mut board = self.board();
        let Some(status) = board.iter_mut().find(|status| status.name == phase.name()) else {
            return;
        };
        let before = status.clone();
        change(status);
        let moved = before.state != status.state || before.why != status.why;
        if moved {
            (self.publish)(&board);
            self.moved.notify_all();
        }
    }

    fn wait_for(&self, names: &[&str]) {
        let mut board = self.board();
        loop {
            let mut named = board
                .iter()
                .filter(|status| names.contains(&status.name.as_str()));
            if named.all(|status| status.state == Progress::Done) {
                return;
            }
            board = self
                .moved
                .wait(board)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn board(&self) -> MutexGuard<'_, Vec<PhaseStatus>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with a plan's order: a name twice, or a phase after one that does not come before it.
pub fn check(plan: &[&dyn Phase]) -> Result<(), String> {
    let all: Vec<&str> = plan.iter().map(|phase| phase.name()).collect();
    let mut before: Vec<&str> = Vec::new();
    for phase in plan {
        let name = phase.name();
        if before.contains(&name) {
            return Err(format!("phase {name} is in the plan twice"));
        }
        let mut late = phase.after().iter();
        if let Some(missing) = late.find(|name| all.contains(name) && !before.contains(name)) {
            return Err(format!(
                "phase {name} is after {missing}, which does not come before it"
            ));
        }
        before.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Engine, check};
    use crate::host::Host;
    use crate::host::fake::Fake;
    use crate::journal::Journal;
    use crate::phase::{Outcome, Phase, State, Trouble};
    use contract::status::{PhaseStatus, Progress};

    /// Done once its file says so; each application takes one trouble off the list.
    struct Toy(&'static str, &'static [&'static str], &'static [char]);

    impl Phase for Toy {
        fn name(&self) -> &'static str {
            self.0
        }

        fn after(&self) -> &'static [&'static str] {
            self.1
        }

        fn observe(&self, host: &dyn Host) -> Outcome<State> {
            let tries = host.read(self.0)?.unwrap_or_default().len();
            Ok(match tries {
                0 => State::Absent,
                n if n <= self.2.len() => State::Partial(String::from("more is needed")),
                _ => State::Done,
            })
        }

        fn apply(&self, host: &dyn Host) -> Outcome<()> {
            let tries = host.read(self.0)?.unwrap_or_default().len();
            host.append(self.0, b".")?;
            match self.2.get(tries) {
                Some('w') => Err(Trouble::Waiting(String::from("the other"))),
                Some('t') => Err(Trouble::Transient(anyhow::anyhow!("a cable"))),
                Some('p') => Err(Trouble::Permanent(anyhow::anyhow!("a seed"))),
                _ => Ok(()),
            }
        }
    }

    fn run(plan: &[&dyn Phase]) -> (Vec<String>, Vec<PhaseStatus>) {
        let host = Fake::default();
        let journal = Journal::default();
        let seen = std::sync::Mutex::new(Vec::new());
        let publish = |phases: &[PhaseStatus]| *seen.lock().unwrap() = phases.to_vec();
        Engine::new(&host, &journal, &publish).run(plan, "/a", || &[]);
        let lines = host.text(contract::paths::JOURNAL).unwrap();
        let event = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            format!(
                "{} {}",
                line["phase"].as_str().unwrap(),
                line["event"].as_str().unwrap()
            )
        };
        (
            lines.lines().map(event).collect(),
            seen.into_inner().unwrap(),
        )
    }

    #[test]
    fn every_kind_of_trouble_is_survived_and_told_once() {
        let (events, board) = run(&[&Toy("/a", &[], &['w', 'w', 't', 'p', 'w'])]);
        assert_eq!(
            events,
            [
                "/a apply",
                "/a waiting",
                "/a retry",
                "/a apply",
                "/a failed",
                "/a apply",
                "/a waiting",
                "/a done",
                "machine ready"
            ]
        );
        assert_eq!((board[0].state, board[0].applied), (Progress::Done, 6));
    }

    #[test]
    fn a_phase_begins_when_those_before_it_are_done() {
        let first = Toy("/a", &[], &['w', 't']);
        let (events, _) = run(&[
            &first,
            &Toy("/b", &["/a"], &[]),
            &Toy("/c", &["/a", "/b"], &[]),
        ]);
        let done: Vec<&String> = events
            .iter()
            .filter(|event| event.ends_with("done"))
            .collect();
        assert_eq!(done, ["/a done", "/b done", "/c done"]);
        let begun = events.iter().position(|event| event == "/b apply");
        assert!(
            begun > events.iter().position(|event| event == "/a done"),
            "{events:?}"
        );
    }

    #[test]
    fn a_plan_out_of_order_is_named() {
        let (a, b) = (Toy("/a", &["/b"], &[]), Toy("/b", &[], &[]));
        assert!(check(&[&b, &a]).is_ok());
        assert!(check(&[&a, &b]).unwrap_err().contains("/a is after /b"));
        assert!(check(&[&b, &b]).unwrap_err().contains("twice"));
    }
}
