//! The frame that is sealed: the payload behind its length and way, padded so that lengths tell little.

use crate::datagram::{MAX_DATAGRAM, Way, cipher};

/// Lengths of frames are multiples of this many bytes.
const STEP: usize = 64;

/// Bytes in front of the payload: its length, and the way.
const HEAD: usize = 3;

/// Bytes of a datagram that are not the frame.
const AROUND: usize = cipher::HEADER + cipher::TAG;

const MAX_FRAME: usize = (MAX_DATAGRAM - AROUND) / STEP * STEP;

/// Most bytes of a payload.
pub(super) const MAX_PAYLOAD: usize = MAX_FRAME - HEAD;

/// Whether a datagram may have this length.
pub(super) fn fits(datagram: usize) -> bool {
    datagram
        .checked_sub(AROUND)
        .is_some_and(|frame| (STEP..=MAX_FRAME).contains(&frame) && frame % STEP == 0)
}

/// Frames a payload; none if it is longer than [`MAX_PAYLOAD`].
pub(super) fn write(payload: &[u8], way: Way) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len()).ok()?;
    if payload.len() > MAX_PAYLOAD {
        return None;
    }
    let mut frame = Vec::with_capacity(MAX_FRAME);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.push(match way {
        Way::Unicast => 0,
        Way::Multicast => 1,
    });
    frame.extend_from_slice(payload);
    frame.resize(frame.len().next_multiple_of(STEP), 0);
    Some(frame)
}

/// The payload and the way; none if the frame has another form than [`write`] gives it.
pub(super) fn read(frame: &[u8]) -> Option<(&[u8], Way)> {
    let (&[low, high, way], rest) = frame.split_first_chunk::<HEAD>()?;
    let length = usize::from(u16::from_le_bytes([low, high]));
    let (payload, padding) = rest.split_at_checked(length)?;
    let way = match way {
        0 => Way::Unicast,
        1 => Way::Multicast,
        _ => return None,
    };
    let tight = padding.len() < STEP && padding.iter().all(|byte| *byte == 0);
    tight.then_some((payload, way))
}
