//! `.netrc`: user names and passwords by host, as curl, git and Python read them.

use contract::secret::Secret;

/// One host's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The host, without a port.
    pub machine: String,
    /// The user name.
    pub login: String,
    /// The password.
    pub password: Secret,
}

/// Reads the entries. `default` is passed over: its password would go to every host that a profile names.
pub fn parse(text: &str) -> Vec<Login> {
    let mut logins: Vec<Login> = Vec::new();
    let mut open = false;
    let mut words = Words { rest: text };
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" => {
                open = true;
                logins.extend(words.next().map(|machine| Login {
                    machine,
                    login: String::new(),
                    password: Secret::new(""),
                }));
            }
            "default" => open = false,
            "macdef" => words.skip_macro(),
            "login" | "user" => {
                let value = words.next().unwrap_or_default();
                if let Some(last) = logins.last_mut().filter(|_| open) {
                    last.login = value;
                }
            }
            "password" => {
                let value = words.next().unwrap_or_default();
                if let Some(last) = logins.last_mut().filter(|_| open) {
                    last.password = Secret::new(value);
                }
            }
            "account" => {
                words.next();
            }
            _ => {}
        }
    }
    logins
}

/// Words between white space; double quotes hold one together, with `\` before what is meant as it is.
struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    /// A macro goes on to the first empty line.
    fn skip_macro(&mut self) {
        self.rest = self.rest.split_once("\n\n").map_or("", |(_, rest)| rest);
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                break;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
        if self.rest.is_empty() {
            return None;
        }
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find(char::is_whitespace);
            let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            self.rest = rest;
            return Some(word.to_owned());
        };
        let mut word = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &quoted[at + 1..];
                    return Some(word);
                }
                '\\' => word.extend(chars.next().map(|(_, c)| c)),
                c => word.push(c),
            }
        }
        self.rest = "";
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R013.
    #[test]
    fn entries_in_every_form() {
        let text = "# machine no login no password no\n\
            machine a.example login ann password \"p \\\"q\"\n\
            macdef init\nmachine fake login f password f\n\n\
            default login anyone password anything\n\
            machine b.example\n  user bob\n  account x\n  password pw\n";
        let found = parse(text);
        let found: Vec<_> = found
            .iter()
            .map(|l| (l.machine.as_str(), l.login.as_str(), l.password.expose()))
            .collect();
        assert_eq!(
            found,
            [("a.example", "ann", "p \"q"), ("b.example", "bob", "pw")]
        );
    }
}
