//! How long each stage took. Only the report knows; nothing of it reaches an image.

use std::time::Instant;

pub(super) struct Stages {
    last: Instant,
    seconds: Vec<(String, f64)>,
}

impl Stages {
    pub(super) fn start() -> Self {
        Stages {
            last: Instant::now(),
            seconds: Vec::new(),
        }
    }

    /// The stage that ran since the last call is called `name`.
    pub(super) fn done(&mut self, name: &str) {
        let took = self.last.elapsed();
        tracing::info!(stage = name, ?took);
        self.seconds.push((name.to_owned(), took.as_secs_f64()));
        self.last = Instant::now();
    }

    pub(super) fn finish(self) -> Vec<(String, f64)> {
        self.seconds
    }
}
