//! `WWW-Authenticate`: how a registry says who may ask (RFC 9110, section 11.6.1, and the distribution project's
//! token specification).

use std::collections::BTreeMap;

/// One way in that a registry offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from the server at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// The ways that headers offer, in their order; schemes that nobody knows are passed over.
pub(super) fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    headers.into_iter().flat_map(parse_one).collect()
}

fn parse_one(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = match after.strip_prefix('=') {
            Some(value) => {
                let (value, after) = value_of(value);
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.insert(word.to_ascii_lowercase(), value);
                }
                after
            }
            None => {
                if !word.is_empty() {
                    found.push((word.to_ascii_lowercase(), BTreeMap::new()));
                }
                after
            }
        }
        .trim_start_matches([' ', ',', '\t']);
    }
    let challenge = |(scheme, mut parameters): (String, BTreeMap<String, String>)| {
        Some(match scheme.as_str() {
            "basic" => Challenge::Basic,
            "bearer" => Challenge::Bearer {
                realm: parameters.remove("realm")?,
                service: parameters.remove("service"),
                scope: parameters.remove("scope"),
            },
            _ => return None,
        })
    };
    found.into_iter().filter_map(challenge).collect()
}

/// A token or a quoted string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R013.
    #[test]
    fn challenges_of_all_kinds() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        };
        let check =
            |header, expected: &[Challenge]| assert_eq!(parse([header]), expected, "{header}");
        check("Basic realm=\"a, b\"", &[Challenge::Basic]);
        check(
            "Bearer realm=\"https://a/t\",service=\"r\",scope=\"repository:a/b:pull,push\"",
            &[bearer(
                "https://a/t",
                Some("r"),
                Some("repository:a/b:pull,push"),
            )],
        );
        check(
            "Negotiate, bearer Realm=https://a/t , Basic realm=x",
            &[bearer("https://a/t", None, None), Challenge::Basic],
        );
        check("Bearer service=\"r\"", &[]);
        check("Bearer realm=\"open", &[bearer("open", None, None)]);
        check("", &[]);
    }
}
