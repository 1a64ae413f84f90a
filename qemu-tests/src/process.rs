//! Processes that live no longer than this one, however it ends.
//!
//! `setpriv --pdeathsig` asks the kernel to kill the program when the thread that started it ends. That thread
//! is one that lives as long as this process, so a test's own thread may end before its machine does.

use anyhow::Context;
use std::io;
use std::process::{Child, Command};
use std::sync::{OnceLock, mpsc};
use std::thread;

struct Order {
    command: Command,
    reply: mpsc::Sender<io::Result<Child>>,
}

static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();

/// A command for `program` that dies with this process; start it with [`start`].
pub fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// Starts `command` from the thread that outlives all others.
pub fn start(command: Command) -> anyhow::Result<Child> {
    let program = format!("{command:?}");
    let (reply, child) = mpsc::channel();
    let starter = STARTER.get_or_init(starter);
    let sent = starter.send(Order { command, reply });
    let child = sent.ok().and_then(|()| child.recv().ok());
    child
        .context("the thread that starts processes has ended")?
        .with_context(|| format!("starting {program}"))
}

fn starter() -> mpsc::Sender<Order> {
    let (sender, orders) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for mut order in orders {
            // Whoever asked may have given up; then the child goes unheard, and dies with this process.
            let _ = order.reply.send(order.command.spawn());
        }
    });
    sender
}
