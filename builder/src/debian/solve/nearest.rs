//! Names that look like a misspelt one.

/// Up to three of `names`, the closest first: those that differ in few letters, then those that one of the two
/// extends.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = (name.len() / 3).clamp(1, 3);
    let mut found: Vec<(usize, &str)> = names
        .filter_map(|candidate| Some((score(name, candidate, limit)?, candidate)))
        .collect();
    found.sort_unstable();
    found.truncate(3);
    found.into_iter().map(|(_, name)| name.to_owned()).collect()
}

fn score(name: &str, candidate: &str, limit: usize) -> Option<usize> {
    if candidate.len().abs_diff(name.len()) <= limit {
        let distance = distance(name.as_bytes(), candidate.as_bytes());
        if distance <= limit {
            return Some(distance);
        }
    }
    let extends = |long: &str, short: &str| short.len() >= 3 && long.starts_with(short);
    let alike = extends(candidate, name) || extends(name, candidate);
    alike.then(|| 10 + candidate.len().abs_diff(name.len()))
}

/// The least number of insertions, deletions and replacements of bytes that make `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &[&str]) {
        let names = [
            "containerd",
            "container-tools",
            "iptables",
            "ipset",
            "systemd",
            "systemd-sysv",
            "vim",
        ];
        assert_eq!(nearest(name, names.into_iter()), expected, "{name}");
    }

    #[test]
    fn suggestions() {
        check("contanerd", &["containerd"]);
        check("iptable", &["iptables"]);
        check("container", &["containerd", "container-tools"]);
        check("systemd", &["systemd", "systemd-sysv"]);
        check("vim-tiny", &["vim"]);
        check("zzz", &[]);
        check("", &[]);
    }

    #[test]
    fn distances() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b""), 3);
    }
}
