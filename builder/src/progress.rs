//! What a long step shows: bars on a terminal, a line an item elsewhere, JSON lines for programs.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bars that move.
    Bars,
    /// One plain line for each finished item.
    Lines,
    /// One JSON object for each finished item.
    Json,
}

impl Mode {
    /// Bars if standard error is a terminal, plain lines otherwise, JSON if asked for.
    pub fn choose(json: bool) -> Self {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Json,
            (false, true) => Mode::Bars,
            (false, false) => Mode::Lines,
        }
    }
}

/// A step with a known number of items and bytes.
#[derive(Debug)]
pub struct Progress {
    mode: Mode,
    step: &'static str,
    items: u64,
    done: AtomicU64,
    bars: MultiProgress,
    total: ProgressBar,
}

impl Progress {
    /// For `items` items of `bytes` bytes in all.
    pub fn new(mode: Mode, step: &'static str, items: usize, bytes: u64) -> Self {
        let bars = match mode {
            Mode::Bars => MultiProgress::new(),
            Mode::Lines | Mode::Json => {
                MultiProgress::with_draw_target(ProgressDrawTarget::hidden())
            }
        };
        let template = "{prefix:>7} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let total = bars.add(
            ProgressBar::new(bytes)
                .with_style(style.progress_chars("=> "))
                .with_prefix(step),
        );
        Progress {
            mode,
            step,
            items: items as u64,
            done: AtomicU64::new(0),
            bars,
            total,
        }
    }

    /// `bytes` more have come.
    pub fn advance(&self, bytes: u64) {
        self.total.inc(bytes);
    }

    /// The item `name` of `bytes` bytes is finished.
    pub fn finished(&self, name: &str, bytes: u64) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let (step, items) = (self.step, self.items);
        match self.mode {
            Mode::Bars => self.total.set_message(format!("{done}/{items} {name}")),
            Mode::Lines => eprintln!("{step} {done}/{items} {name} ({})", size(bytes)),
            Mode::Json => {
                println!(
                    "{}",
                    json!({"step": step, "done": done, "of": items, "item": name, "bytes": bytes})
                );
            }
        }
    }

    /// Takes the bars away.
    pub fn close(self) {
        self.total.finish_and_clear();
        drop(self.bars);
    }
}

/// A number of bytes for people: `12.3 MiB`.
pub fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
