//! Bytes between a client and a server, both ways, until both have ended.
//!
//! No connection has a buffer of its own. Bytes are looked at in the receiving socket, as many are sent as the other
//! socket takes, and only those are taken out, so whatever waits does so in the kernel, within the windows of TCP: a
//! slow reader slows its writer down, and thousands of idle connections cost no memory here.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes looked at in one step.
const STEP: usize = 64 * 1024;

/// How long one direction goes on after the other has ended. Whoever has closed looks like one who only has no more
/// to say; without a limit, clients that gave up would leave connections behind at a server that hangs.
const HALF_CLOSED: Duration = Duration::from_secs(60);

thread_local! {
    /// One for all connections: it is only used between two waits.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; STEP].into_boxed_slice());
}

/// Passes bytes and ends on. Returns when both directions have ended, or with the first error.
pub(super) async fn relay(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let mut up = pin!(forward(client, server));
    let mut down = pin!(forward(server, client));
    let rest = tokio::select! {
        ended = &mut up => { ended?; tokio::time::timeout(HALF_CLOSED, down).await }
        ended = &mut down => { ended?; tokio::time::timeout(HALF_CLOSED, up).await }
    };
    rest.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn forward(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    loop {
        to.writable().await?;
        from.readable().await?;
        match step(from, to) {
            Ok(0) => {
                return match shutdown(to, Shutdown::Write) {
                    // It went away by itself in the meantime.
                    Err(rustix::io::Errno::NOTCONN) => Ok(()),
                    result => Ok(result?),
                };
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // One connection that is always ready would keep all others waiting.
        tokio::task::coop::consume_budget().await;
    }
}

/// Moves what is there and fits; 0 means that no more will come.
fn step(from: &TcpStream, to: &TcpStream) -> io::Result<usize> {
    SCRATCH.with_borrow_mut(|scratch| {
        let there = receive(from, scratch, RecvFlags::PEEK)?;
        if there == 0 {
            return Ok(0);
        }
        let sent = to.try_write(&scratch[..there])?;
        let mut taken = 0;
        while taken < sent {
            // For TCP, Linux takes this to mean that the bytes are not wanted, and copies nothing: tcp(7).
            match receive(from, &mut scratch[taken..sent], RecvFlags::TRUNC)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => taken += n,
            }
        }
        Ok(sent)
    })
}

fn receive(from: &TcpStream, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    from.try_io(Interest::READABLE, || Ok(recv(from, buffer, flags)?.1))
}
