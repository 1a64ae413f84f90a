//! Users and groups as a value, and the four files of `/etc` that hold them.
//!
//! No account has a password, and nobody can be given one by accident: what is not locked by the package
//! that declares it is locked here.

use anyhow::Context;

/// How a password field says "no password works".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// `*`: accounts of base-passwd.
    Base,
    /// `!*`: accounts of systemd-sysusers.
    Sysusers,
    /// As `Sysusers`, and the account has expired as well (`u!` lines).
    Expired,
    /// `!`: accounts of adduser.
    Adduser,
}

/// A line of `/etc/passwd` and its companion in `/etc/shadow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The primary group's number.
    pub gid: u32,
    /// A description.
    pub gecos: String,
    /// The home directory.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// How the account is locked.
    pub lock: Lock,
}

/// A line of `/etc/group` and its companion in `/etc/gshadow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub name: String,
    /// The number.
    pub gid: u32,
    /// Users whose supplementary group this is.
    pub members: Vec<String>,
    /// How the group is locked.
    pub lock: Lock,
}

/// All users and groups, in the order of the files.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Users.
    pub users: Vec<User>,
    /// Groups.
    pub groups: Vec<Group>,
}

impl Accounts {
    /// Appends the users of a passwd(5) text whose names are not known yet.
    pub fn read_passwd(&mut self, text: &str) -> anyhow::Result<()> {
        for line in text.lines().filter(|line| !line.is_empty()) {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, gecos, home, shell] = fields[..] else {
                anyhow::bail!("passwd line {line:?} has {} fields, not 7", fields.len())
            };
            if self.user(name).is_none() {
                self.users.push(User {
                    name: name.to_owned(),
                    uid: number(uid, line)?,
                    gid: number(gid, line)?,
                    gecos: gecos.to_owned(),
                    home: home.to_owned(),
                    shell: shell.to_owned(),
                    lock: Lock::Base,
                });
            }
        }
        Ok(())
    }

    /// Appends the groups of a group(5) text whose names are not known yet.
    pub fn read_group(&mut self, text: &str) -> anyhow::Result<()> {
        for line in text.lines().filter(|line| !line.is_empty()) {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields[..] else {
                anyhow::bail!("group line {line:?} has {} fields, not 4", fields.len())
            };
            if self.group(name).is_none() {
                let members = members.split(',').filter(|member| !member.is_empty());
                self.groups.push(Group {
                    name: name.to_owned(),
                    gid: number(gid, line)?,
                    members: members.map(str::to_owned).collect(),
                    lock: Lock::Base,
                });
            }
        }
        Ok(())
    }

    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The number of the user of that name.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.user(name).map(|user| user.uid)
    }

    /// The number of the group of that name.
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.group(name).map(|group| group.gid)
    }

    /// Makes `user` a member of `group`, if that exists and does not have it yet.
    pub fn join(&mut self, user: &str, group: &str) {
        let group = self.groups.iter_mut().find(|known| known.name == group);
        if let Some(group) =
            group.filter(|group| !group.members.iter().any(|member| member == user))
        {
            group.members.push(user.to_owned());
        }
    }

    /// `/etc/passwd`.
    pub fn passwd(&self) -> String {
        let line = |u: &User| {
            format!(
                "{}:x:{}:{}:{}:{}:{}\n",
                u.name, u.uid, u.gid, u.gecos, u.home, u.shell
            )
        };
        self.users.iter().map(line).collect()
    }

    /// `/etc/group`.
    pub fn group_file(&self) -> String {
        let line = |g: &Group| format!("{}:x:{}:{}\n", g.name, g.gid, g.members.join(","));
        self.groups.iter().map(line).collect()
    }

    /// `/etc/shadow`; passwords count as changed on `day`, counted from 1970.
    pub fn shadow(&self, day: i64) -> String {
        let line = |user: &User| match user.lock {
            Lock::Base => format!("{}:*:{day}:0:99999:7:::\n", user.name),
            Lock::Sysusers => format!("{}:!*:{day}::::::\n", user.name),
            Lock::Expired => format!("{}:!*:{day}:::::1:\n", user.name),
            Lock::Adduser => format!("{}:!:{day}::::::\n", user.name),
        };
        self.users.iter().map(line).collect()
    }

    /// `/etc/gshadow`.
    pub fn gshadow(&self) -> String {
        let line = |group: &Group| {
            let lock = match group.lock {
                Lock::Base => "*",
                Lock::Sysusers | Lock::Expired => "!*",
                Lock::Adduser => "!",
            };
            format!("{}:{lock}::{}\n", group.name, group.members.join(","))
        };
        self.groups.iter().map(line).collect()
    }
}

fn number(text: &str, line: &str) -> anyhow::Result<u32> {
    text.parse()
        .with_context(|| format!("reading number {text:?} in account line {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_round_trip_and_are_locked() {
        let mut accounts = Accounts::default();
        accounts
            .read_passwd("root:*:0:0:root:/root:/bin/bash\n")
            .unwrap();
        accounts.read_group("root:*:0:\nadm:*:4:a,b\n").unwrap();
        accounts.join("c", "adm");
        accounts.join("c", "adm");
        assert_eq!(accounts.passwd(), "root:x:0:0:root:/root:/bin/bash\n");
        assert_eq!(accounts.group_file(), "root:x:0:\nadm:x:4:a,b,c\n");
        assert_eq!(accounts.shadow(20000), "root:*:20000:0:99999:7:::\n");
        assert_eq!(accounts.gshadow(), "root:*::\nadm:*::a,b,c\n");
        assert!(accounts.read_passwd("root:*:0\n").is_err());
        assert!(accounts.read_group("x:*:many:\n").is_err());
    }
}
