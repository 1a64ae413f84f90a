//! Asks many machines at once. One that hangs costs the others nothing, and the whole no more than its time.

use crate::peer::plain::plain_document;
use crate::peer::{self, Exchange};
use contract::peer::{Request, Response};
use contract::secret::Secret;
use contract::status::{Clock, Status};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a thread that asks one machine: there may be a thousand.
const STACK: usize = 512 << 10;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `HOST` or `HOST:PORT`.
    pub address: String,
    /// Its host name, as somebody has told it.
    pub host_name: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who was asked.
    pub target: Target,
    /// What it says; else why there is no answer.
    pub told: Result<Told, String>,
}

/// What a machine says.
#[derive(Clone, Debug)]
pub enum Told {
    /// How it is.
    Status {
        /// Its document; no text in it holds control characters.
        status: Box<Status>,
        /// How far its clock is ahead of this computer's, in milliseconds.
        skew: Option<i64>,
    },
    /// Why it has nothing to tell yet.
    Early(String),
}

impl Answer {
    /// The document, if there is one.
    pub fn status(&self) -> Option<&Status> {
        match &self.told {
            Ok(Told::Status { status, .. }) => Some(status),
            _ => None,
        }
    }
}

/// Asks all, and gives up on those that have not answered within `patience`. Answers are in the order of targets.
pub fn ask_all(targets: Vec<Target>, secret: &Secret, patience: Duration) -> Vec<Answer> {
    let deadline = Instant::now() + patience;
    let (tell, told) = mpsc::channel();
    let mut answers: Vec<Answer> = Vec::with_capacity(targets.len());
    let mut missing = 0;
    for target in targets {
        let (tell, address, secret) = (tell.clone(), target.address.clone(), secret.clone());
        let number = answers.len();
        // A thread that is given up ends by itself, at the latest when its machine is silent for long enough.
        let asking = thread::Builder::new().stack_size(STACK).spawn(move || {
            let _ = tell.send((number, ask(&address, &secret, patience)));
        });
        let why = match asking {
            Ok(_) => format!("no answer within {} s", patience.as_secs_f32()),
            Err(error) => format!("starting a thread to ask it: {error}"),
        };
        missing += 1;
        answers.push(Answer {
            target,
            told: Err(why),
        });
    }
    drop(tell);
    while missing > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((number, answer)) = told.recv_timeout(left) else {
            break;
        };
        answers[number].told = answer;
        missing -= 1;
    }
    answers
}

fn ask(address: &str, secret: &Secret, patience: Duration) -> Result<Told, String> {
    let exchange = peer::exchange(address, secret, &Request::Status, patience)
        .map_err(|error| format!("{error:#}"))?;
    match &exchange.response {
        Response::Document(text) => {
            let read = || -> serde_json::Result<Status> {
                serde_json::from_value(plain_document(serde_json::from_str(text)?))
            };
            let status = read().map_err(|error| {
                format!(
                    "its status has another form ({error}); do both sides have the same version?"
                )
            })?;
            let skew = status.clock.and_then(|clock| skew(&exchange, clock));
            Ok(Told::Status {
                status: Box::new(status),
                skew,
            })
        }
        Response::NotYet(reason) | Response::Refused(reason) => Ok(Told::Early(reason.clone())),
        other => Err(format!(
            "it answers the question for its status with {other:?}; do both sides have the same version?"
        )),
    }
}

/// How far the other clock is ahead, in milliseconds. What the machine took to answer does not count, and the rest of
/// the time is halved: question and answer are taken to be equally long under way (RFC 5905, section 8).
fn skew(exchange: &Exchange, clock: Clock) -> Option<i64> {
    let milliseconds = |time: Duration| i64::try_from(time.as_millis()).ok();
    let (sent, received) = (
        milliseconds(exchange.sent)?,
        milliseconds(exchange.sent + exchange.took)?,
    );
    let there = i64::try_from(clock.received).ok()?;
    let back = i64::try_from(clock.sent).ok()?;
    Some(
        there
            .checked_sub(sent)?
            .checked_add(back.checked_sub(received)?)?
            / 2,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_halved_and_the_machines_own_time_left_out() {
        let check = |received: u64, sent: u64, expected: Option<i64>| {
            let exchange = Exchange {
                response: Response::Done,
                sent: Duration::from_millis(10_000),
                took: Duration::from_millis(1_600),
            };
            assert_eq!(skew(&exchange, Clock { received, sent }), expected);
        };
        // 50 ms there, 1.5 s on the machine, 50 ms back.
        check(10_050, 11_550, Some(0));
        check(13_050, 14_550, Some(3_000));
        check(5_050, 6_550, Some(-5_000));
        check(u64::MAX, u64::MAX, None);
    }
}
