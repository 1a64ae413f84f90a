//! Debian package versions, compared as dpkg does: `[epoch:]upstream[-revision]`, see deb-version(7).
//!
//! The comparison works on borrowed text and never fails, since a resolver compares a great many versions
//! from archives; [`validate`] is for text that people wrote.

use std::cmp::Ordering;
use thiserror::Error;

/// Why a text is not a version.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{text:?} is not a Debian version: {why}")]
pub struct VersionError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Compares two versions.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (split(a), split(b));
    number(a.epoch)
        .cmp(&number(b.epoch))
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision, b.revision))
}

/// Checks the characters of a version.
pub fn validate(text: &str) -> Result<(), VersionError> {
    let fail = |why| {
        Err(VersionError {
            text: text.to_owned(),
            why,
        })
    };
    let parts = split(text);
    if text.contains(':')
        && (parts.epoch.is_empty() || !parts.epoch.bytes().all(|b| b.is_ascii_digit()))
    {
        return fail("the epoch before the colon is not a number");
    }
    if !parts.upstream.starts_with(|c: char| c.is_ascii_digit()) {
        return fail("it does not start with a digit");
    }
    let known = |b: u8| b.is_ascii_alphanumeric() || b".+~-:".contains(&b);
    if !parts
        .upstream
        .bytes()
        .chain(parts.revision.bytes())
        .all(known)
    {
        return fail("only letters, digits and . + ~ - : are allowed");
    }
    if text.ends_with('-') {
        return fail("the revision after the dash is empty");
    }
    Ok(())
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

fn split(text: &str) -> Parts<'_> {
    let (epoch, rest) = text.split_once(':').unwrap_or(("", text));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    Parts {
        epoch,
        upstream,
        revision,
    }
}

/// A digit string as something comparable whatever its length: leading zeros removed, longer is greater.
fn number(digits: &str) -> (usize, &str) {
    let digits = digits.trim_start_matches('0');
    (digits.len(), digits)
}

/// Alternates between stretches of non-digits and of digits, as deb-version(7) defines.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (a_text, a_rest) = cut(a, |c| !c.is_ascii_digit());
        let (b_text, b_rest) = cut(b, |c| !c.is_ascii_digit());
        let (a_digits, a_next) = cut(a_rest, |c| c.is_ascii_digit());
        let (b_digits, b_next) = cut(b_rest, |c| c.is_ascii_digit());
        let order =
            compare_text(a_text, b_text).then_with(|| number(a_digits).cmp(&number(b_digits)));
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_next, b_next);
    }
    Ordering::Equal
}

fn cut(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn compare_text(a: &str, b: &str) -> Ordering {
    // Beyond the end of a text stands the weight of the end, which only a tilde is below.
    let len = a.len().max(b.len());
    padded(a, len).cmp(padded(b, len))
}

fn padded(text: &str, len: usize) -> impl Iterator<Item = i32> {
    let padding = std::iter::repeat_n(0, len - text.len());
    text.bytes().map(weight).chain(padding)
}

fn weight(byte: u8) -> i32 {
    match byte {
        b'~' => -1,
        b if b.is_ascii_alphabetic() => i32::from(b),
        b => i32::from(b) + 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(a: &str, b: &str, expected: Ordering) {
        assert_eq!(compare(a, b), expected, "{a} with {b}");
        assert_eq!(compare(b, a), expected.reverse(), "{b} with {a}");
    }

    #[test]
    fn order() {
        check("1.0", "1.0", Ordering::Equal);
        check("1.0", "1.00", Ordering::Equal);
        check("1.0", "1.0-0", Ordering::Equal);
        check("0:1.0", "1.0", Ordering::Equal);
        check("1:0.1", "9.9", Ordering::Greater);
        check("1.10", "1.9", Ordering::Greater);
        check("1.0~rc1", "1.0", Ordering::Less);
        check("1.0~~", "1.0~", Ordering::Less);
        check("1.0-1~deb13u1", "1.0-1", Ordering::Less);
        check("1.0a", "1.0+", Ordering::Less);
        check("1.0-1+b1", "1.0-1", Ordering::Greater);
        check("1-2-3", "1-2-10", Ordering::Less);
        check(
            "18446744073709551616",
            "18446744073709551615",
            Ordering::Greater,
        );
    }

    #[test]
    fn validation() {
        for good in ["1", "1:2.3-4", "0~", "1.0-1+b1", "2:1:0"] {
            assert_eq!(validate(good), Ok(()));
        }
        for bad in ["", "a", "x:1", ":1", "1-", "1_2", "1 2", "1:"] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_an_order(a in "[0-9a~+.:-]{0,8}", b in "[0-9a~+.:-]{0,8}", c in "[0-9a~+.:-]{0,8}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
