//! The `Range` header of a request for one piece of a blob (RFC 9110, section 14).

/// What a request asks of `size` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of them.
    Whole,
    /// From the first position to the last, both included.
    Part { first: u64, last: u64 },
    /// Positions that the blob does not have.
    Beyond,
}

/// Reads the header. Several ranges, and what is no range of bytes, are answered with the whole, as the RFC
/// allows.
pub(super) fn parse(header: Option<&str>, size: u64) -> Wanted {
    let Some((first, last)) = header
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|text| text.split_once('-'))
    else {
        return Wanted::Whole;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let end = size.saturating_sub(1);
    match (first, number(first), last, number(last)) {
        (_, Some(first), "", _) if first < size => Wanted::Part { first, last: end },
        (_, Some(first), _, Some(last)) if first <= last && first < size => Wanted::Part {
            first,
            last: last.min(end),
        },
        (_, Some(_), "", _) => Wanted::Beyond,
        (_, Some(first), _, Some(last)) if first <= last => Wanted::Beyond,
        ("", _, _, Some(tail)) if tail > 0 && size > 0 => Wanted::Part {
            first: size.saturating_sub(tail),
            last: end,
        },
        ("", _, _, Some(_)) => Wanted::Beyond,
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |first, last| Wanted::Part { first, last };
        let table = [
            (None, 10, Wanted::Whole),
            (Some("bytes=0-"), 10, part(0, 9)),
            (Some("bytes=3-5"), 10, part(3, 5)),
            (Some("bytes=3-99999999999999999999999"), 10, part(3, 9)),
            (Some("bytes=-4"), 10, part(6, 9)),
            (Some("bytes=-40"), 10, part(0, 9)),
            (Some("bytes=-0"), 10, Wanted::Beyond),
            (Some("bytes=10-"), 10, Wanted::Beyond),
            (Some("bytes=10-12"), 10, Wanted::Beyond),
            (Some("bytes=0-"), 0, Wanted::Beyond),
            (Some("bytes=5-3"), 10, Wanted::Whole),
            (Some("bytes=0-1,3-4"), 10, Wanted::Whole),
            (Some("bytes=+1-2"), 10, Wanted::Whole),
            (Some("lines=1-2"), 10, Wanted::Whole),
            (Some("bytes=-"), 10, Wanted::Whole),
        ];
        for (header, size, expected) in table {
            assert_eq!(parse(header, size), expected, "{header:?} of {size}");
        }
    }
}
