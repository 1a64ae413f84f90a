//! Which of several seeds is taken.
//!
//! A rank is left for the next one only if it has no seed at all. A seed with faults, or two different seeds
//! of one rank, end the search with nothing found: someone meant something there, and a cluster founded with
//! another seed could not be taken back.

use super::{Found, Rejected, Search};
use contract::document;
use contract::seed;
use sha2::{Digest, Sha256};

/// Where a seed is, the one to be preferred first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A volume that someone plugged in.
    Stick,
    /// The SEED partition of the disk that was booted.
    SeedPartition,
    /// A volume on another disk.
    Disk,
    /// The image.
    Image,
}

/// A place that has a seed, or that could not be read.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) rank: Rank,
    pub(super) origin: String,
    /// The seed's bytes, or why nothing can be said about them.
    pub(super) content: Result<Vec<u8>, String>,
}

/// Decides.
pub(super) fn select(mut candidates: Vec<Candidate>) -> Search {
    candidates.sort_by(|a, b| (a.rank, &a.origin).cmp(&(b.rank, &b.origin)));
    let mut search = Search::default();
    let mut good: Vec<(Rank, Found)> = Vec::new();
    let mut blocked: Option<Rank> = None;
    for Candidate {
        rank,
        origin,
        content,
    } in candidates
    {
        match content {
            Err(reason) => search.rejected.push(Rejected { origin, reason }),
            Ok(bytes) => match parse(&origin, &bytes) {
                Ok(found) => good.push((rank, found)),
                Err(reason) => {
                    blocked = blocked.or(Some(rank));
                    search.rejected.push(Rejected { origin, reason });
                }
            },
        }
    }
    let Some(first) = good.first().map(|(rank, _)| *rank) else {
        return search;
    };
    if blocked.is_some_and(|rank| rank <= first) {
        let reason = "it waits until the faulty seed before it is corrected or taken away";
        search
            .rejected
            .extend(good.into_iter().map(|(_, found)| found.reject(reason)));
        return search;
    }
    let (mut rank, rest): (Vec<_>, Vec<_>) = good.into_iter().partition(|(rank, _)| *rank == first);
    let digest = rank[0].1.digest.clone();
    if rank.iter().any(|(_, found)| found.digest != digest) {
        let origins: Vec<String> = rank.iter().map(|(_, found)| found.origin.clone()).collect();
        let reason = format!(
            "there are different seeds at {}: keep one",
            origins.join(" and ")
        );
        search
            .rejected
            .extend(rank.into_iter().map(|(_, found)| found.reject(&reason)));
        return search;
    }
    let (_, found) = rank.swap_remove(0);
    let other = rest
        .into_iter()
        .filter(|(_, rest)| rest.digest != found.digest);
    let reason = format!("the seed at {} goes before it", found.origin);
    search
        .rejected
        .extend(other.map(|(_, other)| other.reject(&reason)));
    search.found = Some(found);
    search
}

impl Found {
    fn reject(self, reason: &str) -> Rejected {
        Rejected {
            origin: self.origin,
            reason: reason.to_owned(),
        }
    }
}

fn parse(origin: &str, bytes: &[u8]) -> Result<Found, String> {
    let parse = || {
        let text = document::text("seed.yaml", bytes)?;
        Ok((text.to_owned(), seed::parse("seed.yaml", text)?))
    };
    let (text, seed) = parse().map_err(|faults: document::Faults| faults.to_string())?;
    let digest = Sha256::digest(&text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(Found {
        seed,
        text,
        origin: origin.to_owned(),
        digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(name: &str) -> String {
        let secret = "abcdefghijklmnopqrstuvwxyz234567";
        format!("version: 1\ncluster: {{name: {name}, secret: {secret}}}\n")
    }

    /// Candidates as (rank, origin, content); content is a cluster's name, `!` for a faulty seed, `?` for a
    /// volume that cannot be read. Expected is the origin found, and those rejected.
    #[track_caller]
    fn check(candidates: &[(Rank, &str, &str)], found: Option<&str>, rejected: &[&str]) -> Search {
        let candidate = |(rank, origin, content): &(Rank, &str, &str)| Candidate {
            rank: *rank,
            origin: (*origin).to_owned(),
            content: match *content {
                "?" => Err("input/output error".to_owned()),
                "!" => Ok(b"version: 1\n".to_vec()),
                name => Ok(seed(name).into_bytes()),
            },
        };
        let search = select(candidates.iter().map(candidate).collect());
        assert_eq!(
            search.found.as_ref().map(|found| found.origin.as_str()),
            found,
            "{search:?}"
        );
        let origins: Vec<&str> = search
            .rejected
            .iter()
            .map(|rejected| rejected.origin.as_str())
            .collect();
        assert_eq!(origins, rejected, "{search:?}");
        search
    }

    #[test]
    fn what_someone_brought_goes_first() {
        use Rank::{Disk, Image, SeedPartition, Stick};
        check(&[], None, &[]);
        check(&[(Image, "image", "a")], Some("image"), &[]);
        check(
            &[(Image, "image", "a"), (SeedPartition, "seed", "b")],
            Some("seed"),
            &["image"],
        );
        check(
            &[
                (Image, "image", "a"),
                (Disk, "vdb", "b"),
                (Stick, "sdb1", "c"),
            ],
            Some("sdb1"),
            &["vdb", "image"],
        );
        check(
            &[(Disk, "vdb", "b"), (SeedPartition, "seed", "b")],
            Some("seed"),
            &[],
        );
        check(
            &[(Stick, "sdb1", "?"), (SeedPartition, "seed", "b")],
            Some("seed"),
            &["sdb1"],
        );
    }

    #[test]
    fn a_faulty_seed_is_not_passed_over() {
        let stick = (Rank::Stick, "sdb1", "!");
        let search = check(
            &[(Rank::Image, "image", "a"), stick],
            None,
            &["sdb1", "image"],
        );
        assert!(
            search.rejected[0].reason.contains("cluster is missing"),
            "{search:?}"
        );
        check(
            &[stick, (Rank::Stick, "sdc1", "a")],
            None,
            &["sdb1", "sdc1"],
        );
        check(
            &[(Rank::Stick, "sdb1", "a"), (Rank::Image, "image", "!")],
            Some("sdb1"),
            &["image"],
        );
    }

    #[test]
    fn two_different_sticks_stop_the_search_and_equal_ones_do_not() {
        let sticks = [(Rank::Stick, "sdb1", "a"), (Rank::Stick, "sdc1", "b")];
        let search = check(&sticks, None, &["sdb1", "sdc1"]);
        assert_eq!(
            search.rejected[0].reason,
            "there are different seeds at sdb1 and sdc1: keep one"
        );
        check(
            &[(Rank::Stick, "sdb1", "a"), (Rank::Stick, "sdc1", "a")],
            Some("sdb1"),
            &[],
        );
    }
}
