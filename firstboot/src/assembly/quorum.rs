//! How many machines decide, and how many of them may forget.
//!
//! `docs/assembly.md` has the theorem and its proof.

/// How many of `machines` must agree: all but a quarter of the others. 1 of 1, 3 of 3, 4 of 5, 751 of 1,000.
pub fn quorum(machines: u32) -> u32 {
    machines - machines.saturating_sub(1) / 4
}

/// How many machines may have forgotten a vote of the slot and vote in it again, or be there beyond `machines`,
/// without a second birth being possible: two quorums share one machine more than that.
/// 0 of 1, 2 of 3, 2 of 5, 501 of 1,000; never less than half of the others.
pub fn tolerated(machines: u32) -> u32 {
    (2 * quorum(machines)).saturating_sub(machines + 1)
}

#[cfg(test)]
mod tests {
    use super::{quorum, tolerated};

    #[test]
    fn figures() {
        for (machines, wanted, forgetful) in [
            (1, 1, 0),
            (2, 2, 1),
            (3, 3, 2),
            (4, 4, 3),
            (5, 4, 2),
            (7, 6, 4),
            (9, 7, 4),
            (50, 38, 25),
            (1000, 751, 501),
        ] {
            assert_eq!(
                (quorum(machines), tolerated(machines)),
                (wanted, forgetful),
                "{machines} machines"
            );
        }
    }

    #[test]
    fn half_of_the_others_may_forget_and_a_quarter_of_them_be_off() {
        for machines in 1..=10_000 {
            assert!(
                2 * tolerated(machines) >= machines - 1,
                "{machines} machines"
            );
            assert_eq!(
                machines - quorum(machines),
                (machines - 1) / 4,
                "{machines} machines"
            );
        }
    }
}
