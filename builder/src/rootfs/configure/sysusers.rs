//! Applies `sysusers.d` snippets to the accounts, as systemd-sysusers(8) does on an empty system: files in
//! order of their names, `/etc` before `/run` before `/usr/local/lib` before `/usr/lib`; all groups first,
//! then all users; free numbers are handed out from 999 downwards.
//!
//! Not supported, and refused: numbers taken from the owner of a path, and specifiers.

use crate::rootfs::configure::accounts::{Accounts, Group, Lock, User};
use anyhow::{Context, bail};

const FIRST: u32 = 999;

/// The directories that hold snippets; the first that has a file of some name wins.
pub const DIRECTORIES: [&str; 4] = [
    "etc/sysusers.d",
    "run/sysusers.d",
    "usr/local/lib/sysusers.d",
    "usr/lib/sysusers.d",
];

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    User(UserItem),
    Group { name: String, gid: Option<u32> },
    Member { user: String, group: String },
    Range { first: u32, last: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct UserItem {
    name: String,
    uid: Option<u32>,
    group: Primary,
    gecos: String,
    home: String,
    shell: String,
    lock: Lock,
}

/// A user's primary group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Primary {
    /// One of the user's own name.
    Own,
    Number(u32),
    Name(String),
}

/// Applies snippets, given as (name, text) in the order that they count, to `accounts`.
pub fn apply(snippets: &[(String, String)], accounts: &mut Accounts) -> anyhow::Result<()> {
    let mut items = Vec::new();
    for (name, text) in snippets {
        for (number, line) in text.lines().enumerate() {
            let item =
                parse(line).with_context(|| format!("reading {name}, line {}", number + 1))?;
            items.extend(item);
        }
    }
    let mut numbers = Numbers::new(&items);
    for item in &items {
        match item {
            Item::Group { name, gid } => {
                add_group(name, *gid, Lock::Sysusers, accounts, &mut numbers)?
            }
            // The group of an `m` line comes into being, too.
            Item::Member { group, .. } => {
                add_group(group, None, Lock::Sysusers, accounts, &mut numbers)?
            }
            Item::User(_) | Item::Range { .. } => {}
        }
    }
    for item in &items {
        match item {
            Item::User(user) => add_user(user, accounts, &mut numbers)?,
            Item::Member { user, .. } => add_user(&UserItem::plain(user), accounts, &mut numbers)?,
            Item::Group { .. } | Item::Range { .. } => {}
        }
    }
    for item in &items {
        if let Item::Member { user, group } = item {
            accounts.join(user, group);
        }
    }
    Ok(())
}

impl UserItem {
    fn plain(name: &str) -> Self {
        UserItem {
            name: name.to_owned(),
            uid: None,
            group: Primary::Own,
            gecos: String::new(),
            home: "/".into(),
            shell: "/usr/sbin/nologin".into(),
            lock: Lock::Sysusers,
        }
    }
}

/// Free numbers, from the highest down; one sequence for users and groups, so that pairs are equal.
struct Numbers {
    left: Vec<(u32, u32)>,
}

impl Numbers {
    fn new(items: &[Item]) -> Self {
        let ranges = items.iter().filter_map(|item| match item {
            Item::Range { first, last } => Some((*first, *last)),
            _ => None,
        });
        let mut left: Vec<(u32, u32)> = ranges.collect();
        if left.is_empty() {
            left.push((1, FIRST));
        }
        left.sort_unstable();
        Numbers { left }
    }

    fn next(&mut self, free: impl Fn(u32) -> bool) -> Option<u32> {
        while let Some((first, last)) = self.left.pop() {
            if first < last {
                self.left.push((first, last - 1));
            }
            if first <= last && free(last) {
                return Some(last);
            }
        }
        None
    }
}

/// Whether a user and a group named `name` may have the number.
fn is_free(number: u32, name: &str, accounts: &Accounts, for_user: bool) -> bool {
    let user = accounts.users.iter().find(|user| user.uid == number);
    let group = accounts.groups.iter().find(|group| group.gid == number);
    let (own_user, own_group) = (
        user.is_none_or(|u| u.name == name),
        group.is_none_or(|g| g.name == name),
    );
    if for_user {
        user.is_none() && own_group
    } else {
        group.is_none() && own_user
    }
}

fn add_group(
    name: &str,
    gid: Option<u32>,
    lock: Lock,
    accounts: &mut Accounts,
    numbers: &mut Numbers,
) -> anyhow::Result<()> {
    if accounts.group(name).is_some() {
        return Ok(());
    }
    if let Some(gid) = gid
        && let Some(other) = accounts.groups.iter().find(|group| group.gid == gid)
    {
        bail!(
            "group {name} asks for number {gid}, which group {} has",
            other.name
        );
    }
    let wished = accounts
        .uid(name)
        .filter(|uid| is_free(*uid, name, accounts, false));
    let gid = gid
        .or(wished)
        .or_else(|| numbers.next(|number| is_free(number, name, accounts, false)));
    let gid = gid.with_context(|| format!("no number is left for group {name}"))?;
    accounts.groups.push(Group {
        name: name.to_owned(),
        gid,
        members: Vec::new(),
        lock,
    });
    Ok(())
}

fn add_user(item: &UserItem, accounts: &mut Accounts, numbers: &mut Numbers) -> anyhow::Result<()> {
    let name = &item.name;
    if accounts.user(name).is_some() {
        return Ok(());
    }
    let gid = match &item.group {
        Primary::Number(gid) => *gid,
        Primary::Name(group) => accounts
            .gid(group)
            .with_context(|| format!("group {group} of user {name} does not exist"))?,
        Primary::Own => {
            let wished = item.uid.filter(|uid| is_free(*uid, name, accounts, false));
            add_group(name, wished, item.lock, accounts, numbers)?;
            accounts.gid(name).context("the group was just added")?
        }
    };
    if let Some(uid) = item.uid
        && let Some(other) = accounts.users.iter().find(|user| user.uid == uid)
    {
        bail!(
            "user {name} asks for number {uid}, which user {} has",
            other.name
        );
    }
    let wished = Some(gid).filter(|gid| is_free(*gid, name, accounts, true));
    let uid = item
        .uid
        .or(wished)
        .or_else(|| numbers.next(|number| is_free(number, name, accounts, true)));
    let uid = uid.with_context(|| format!("no number is left for user {name}"))?;
    accounts.users.push(User {
        name: name.clone(),
        uid,
        gid,
        gecos: item.gecos.clone(),
        home: item.home.clone(),
        shell: item.shell.clone(),
        lock: item.lock,
    });
    Ok(())
}

fn parse(line: &str) -> anyhow::Result<Option<Item>> {
    let words = words(line)?;
    let [kind, name, rest @ ..] = &words[..] else {
        return if words.is_empty() {
            Ok(None)
        } else {
            bail!("only one word")
        };
    };
    if words
        .iter()
        .any(|word| word.replace("%%", "").contains('%'))
    {
        bail!("specifiers (%) are not supported");
    }
    let field = |index: usize| {
        rest.get(index)
            .map(String::as_str)
            .filter(|word| *word != "-" && !word.is_empty())
    };
    let item = match kind.as_str() {
        "u" | "u!" => {
            let (uid, group) = field(0).map_or(Ok((None, Primary::Own)), ids)?;
            let root = uid == Some(0);
            Item::User(UserItem {
                name: name.clone(),
                uid,
                group,
                gecos: field(1).unwrap_or_default().to_owned(),
                home: field(2)
                    .unwrap_or(if root { "/root" } else { "/" })
                    .to_owned(),
                shell: field(3)
                    .unwrap_or(if root { "/bin/sh" } else { "/usr/sbin/nologin" })
                    .to_owned(),
                lock: if kind == "u!" {
                    Lock::Expired
                } else {
                    Lock::Sysusers
                },
            })
        }
        "g" => Item::Group {
            name: name.clone(),
            gid: field(0).map(number).transpose()?,
        },
        "m" => Item::Member {
            user: name.clone(),
            group: field(0).context("no group is named")?.to_owned(),
        },
        "r" => {
            let range = field(0).context("no range is given")?;
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Item::Range {
                first: number(first)?,
                last: number(last)?,
            }
        }
        other => bail!("type {other:?} is not known"),
    };
    Ok(Some(item))
}

fn ids(text: &str) -> anyhow::Result<(Option<u32>, Primary)> {
    if text.starts_with('/') {
        bail!("the owner of a path as number is not supported");
    }
    let (uid, group) = text.split_once(':').unwrap_or((text, ""));
    let uid = if uid == "-" { None } else { Some(number(uid)?) };
    let group = match group {
        "" => Primary::Own,
        _ if group.bytes().all(|b| b.is_ascii_digit()) => Primary::Number(number(group)?),
        _ => Primary::Name(group.to_owned()),
    };
    Ok((uid, group))
}

fn number(text: &str) -> anyhow::Result<u32> {
    text.parse()
        .with_context(|| format!("reading number {text:?}"))
}

/// The words of a line; quotes hold words together. A comment is no word.
fn words(line: &str) -> anyhow::Result<Vec<String>> {
    let line = line.trim();
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    if line.starts_with('#') {
        return Ok(words);
    }
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        bail!("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &[(&str, u32)], snippet: &str, expected: Result<(&str, &str), &str>) {
        let mut accounts = Accounts::default();
        for (name, id) in before {
            accounts
                .read_passwd(&format!("{name}:*:{id}:{id}::/:/bin/sh\n"))
                .unwrap();
            accounts.read_group(&format!("{name}:*:{id}:\n")).unwrap();
        }
        let skip = before.len();
        let result = apply(&[("x.conf".into(), snippet.into())], &mut accounts);
        let after = |text: String| {
            text.lines()
                .skip(skip)
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        match (result, expected) {
            (Ok(()), Ok((users, groups))) => {
                assert_eq!(after(accounts.passwd()), users);
                assert_eq!(after(accounts.group_file()), groups);
            }
            (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{error:#}"),
            (result, expected) => panic!("{snippet}: {result:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn numbers_come_from_the_top_and_pairs_are_equal() {
        let users = "a:x:997:997:A user:/:/usr/sbin/nologin\nb:x:996:996::/home:/bin/sh\n";
        check(
            &[],
            "u a - \"A user\"\ng x -\nu b - - /home /bin/sh\ng y",
            Ok((users, "x:x:999:\ny:x:998:\na:x:997:\nb:x:996:\n")),
        );
        check(&[("taken", 999)], "g x -", Ok(("", "x:x:998:\n")));
        check(
            &[],
            "r - 500-501\ng x\ng y",
            Ok(("", "x:x:501:\ny:x:500:\n")),
        );
        check(
            &[],
            "r - 500\ng x\ng y",
            Err("no number is left for group y"),
        );
    }

    #[test]
    fn what_exists_stays_and_members_join() {
        check(&[("root", 0)], "u root 0 - /root /bin/bash", Ok(("", "")));
        check(&[("root", 0)], "m root adm", Ok(("", "adm:x:999:root\n")));
        check(
            &[],
            "u sync 4:65534",
            Ok(("sync:x:4:65534::/:/usr/sbin/nologin\n", "")),
        );
        check(
            &[("a", 7)],
            "u b 7",
            Err("user b asks for number 7, which user a has"),
        );
        check(
            &[("a", 7)],
            "u b -:a",
            Ok(("b:x:999:7::/:/usr/sbin/nologin\n", "")),
        );
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        check(
            &[],
            "# comment\n\nz a",
            Err("reading x.conf, line 3: type \"z\" is not known"),
        );
        check(&[], "u a /etc/passwd", Err("not supported"));
        check(&[], "u a - \"open", Err("a quote is not closed"));
        check(&[], "u a%H", Err("specifiers"));
    }
}
