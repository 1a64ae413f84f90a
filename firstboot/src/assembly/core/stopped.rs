//! What stops a core from voting and proposing, and how that is told.

use super::{Action, Core};
use crate::assembly::Trouble;

impl Core {
    /// Tells of troubles that are new.
    pub(super) fn report(&mut self) {
        let now = self.current_troubles();
        for trouble in &now {
            if !self.troubles.iter().any(|told| told.is_same(trouble)) {
                self.actions.push(Action::Trouble(trouble.clone()));
            }
        }
        self.troubles = now;
    }

    fn current_troubles(&self) -> Vec<Trouble> {
        let mut troubles: Vec<_> = self
            .roster
            .twice()
            .map(|(machine, incarnations)| Trouble::Cloned {
                machine,
                incarnations,
            })
            .chain(self.second_birth.clone())
            .collect();
        if self.are_too_many() {
            let mut machines = self.roster.by_arrival();
            let extra = machines.split_off(machines.len().min(self.config.machines as usize));
            troubles.push(Trouble::TooMany {
                expected: self.config.machines,
                machines,
                extra,
            });
        }
        troubles
    }

    fn are_too_many(&self) -> bool {
        self.roster.live().len() > self.config.machines as usize
    }

    /// Whether this machine neither votes nor proposes.
    pub(super) fn is_stopped(&self) -> bool {
        self.second_birth.is_some() || self.are_too_many() || self.roster.is_twice(self.config.me)
    }
}
