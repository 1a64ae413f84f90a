//! What is mounted where, from the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use anyhow::Result;

use super::Host;

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The directory inside the file system that is shown.
    pub root: String,
    /// Where it is.
    pub target: String,
    /// File system type.
    pub fstype: String,
    /// Device or name.
    pub source: String,
}

/// The topmost mount at `target`, if there is one.
pub fn at(host: &dyn Host, target: &str) -> Result<Option<Mounted>> {
    let text = host.read_text("/proc/self/mountinfo")?.unwrap_or_default();
    Ok(parse(&text).into_iter().rfind(|m| m.target == target))
}

/// All mounts in order; lines that do not have the form are left out.
pub fn parse(text: &str) -> Vec<Mounted> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mounted> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, target) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    Some(Mounted {
        root: unescape(root),
        target: unescape(target),
        fstype: right.next()?.to_owned(),
        source: unescape(right.next()?),
    })
}

/// Space, tab, newline and backslash are written as three octal digits behind a backslash.
fn unescape(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                plain.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn fields_are_found_behind_any_number_of_optional_ones() {
        let text = "36 35 98:0 / /a\\040b rw,noatime shared:1 master:2 - ext4 /dev/vda7 rw\n\
                    37 35 98:0 /log /var/log rw - ext4 /dev/vda7 rw\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(
            (mounts[0].target.as_str(), mounts[0].source.as_str()),
            ("/a b", "/dev/vda7")
        );
        assert_eq!(
            (mounts[1].root.as_str(), mounts[1].fstype.as_str()),
            ("/log", "ext4")
        );
    }
}
