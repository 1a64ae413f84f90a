//! `seedbed ls` and `seedbed cat`.

use crate::cli::STDOUT;
use crate::cli::args::{CatArgs, LsArgs};
use crate::inspect::image::Image;
use crate::inspect::list::{self, Item, Place};
use anyhow::Context;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

pub(super) fn ls(args: LsArgs) -> anyhow::Result<()> {
    let image = Image::open(&args.image)?;
    let items = list::list(&image, &Place::parse(&args.path))?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&items)? + "\n",
        false => items
            .iter()
            .fold(String::new(), |text, item| text + &Line(item).to_string()),
    };
    io::stdout().write_all(text.as_bytes()).context(STDOUT)
}

pub(super) fn cat(args: CatArgs) -> anyhow::Result<()> {
    let image = Image::open(&args.image)?;
    let mut out = io::stdout().lock();
    list::cat(&image, &Place::parse(&args.path), &mut out)?;
    out.flush().context(STDOUT)
}

/// A line as `ls -ln` would give it, without links and times.
struct Line<'a>(&'a Item);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = self.0;
        f.write_char(match item.kind {
            "directory" => 'd',
            "link" => 'l',
            "character device" => 'c',
            "block device" => 'b',
            "pipe" => 'p',
            "socket" => 's',
            _ => '-',
        })?;
        if let (Some(mode), Some((uid, gid))) = (item.mode, item.owner) {
            f.write_str(&permissions(mode))?;
            write!(f, " {uid:>5} {gid:>5}")?;
        }
        match item.device {
            Some((major, minor)) => write!(f, " {:>12}", format!("{major},{minor}"))?,
            None => write!(f, " {:>12}", item.bytes)?,
        }
        // A name from an image may hold what a terminal would obey.
        write!(f, " {}", printable(&item.name))?;
        if let Some(target) = &item.target {
            write!(f, " -> {}", printable(target))?;
        }
        f.write_char('\n')
    }
}

/// `rwxr-xr-x`, with set-uid, set-gid and sticky in the place of `x`.
fn permissions(mode: u16) -> String {
    let mut text: Vec<char> = (0..9)
        .map(|bit| {
            if mode & (0o400 >> bit) == 0 {
                '-'
            } else {
                ['r', 'w', 'x'][bit % 3]
            }
        })
        .collect();
    for (bit, at, letter) in [(0o4000, 2, 's'), (0o2000, 5, 's'), (0o1000, 8, 't')] {
        if mode & bit != 0 {
            let executable = text[at] == 'x';
            text[at] = if executable {
                letter
            } else {
                letter.to_ascii_uppercase()
            };
        }
    }
    text.into_iter().collect()
}

/// A name with its control characters escaped.
pub(super) fn printable(name: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    name.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_ls_has_them() {
        let item = Item {
            name: "su\u{1b}[1m".into(),
            kind: "file",
            bytes: 7,
            mode: Some(0o4755),
            owner: Some((0, 42)),
            target: None,
            device: None,
        };
        assert_eq!(
            Line(&item).to_string(),
            "-rwsr-xr-x     0    42            7 su\\u{1b}[1m\n"
        );
        assert_eq!(permissions(0o1777), "rwxrwxrwt");
        assert_eq!(permissions(0o2640), "rw-r-S---");
    }
}
