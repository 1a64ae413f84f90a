//! Join seeds: the founding seed with the id of the cluster that exists.

use crate::document::Faults;
use crate::guid::Guid;
use crate::seed::{self, Addressing, Seed};

/// Why no join seed can be made of a seed's text.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// It names a cluster already.
    #[error("this is a join seed of cluster {0} already: machines can be given it as it is")]
    Already(Guid),
    /// The text is written in a way that a line cannot be put into.
    #[error(
        "the id finds no place below `cluster:`: copy the seed, and write `id: {0}` there by hand"
    )]
    NoPlace(Guid),
    /// The seed gives the address of one machine.
    #[error(
        "network.static gives the address of one machine, which no other can have: for each machine that is to join, copy \
         the seed with an address of its own, and write `id: {0}` below `cluster:`"
    )]
    Static(Guid),
    /// The seed has faults, or would have them as a join seed.
    #[error(transparent)]
    Faults(#[from] Faults),
}

/// The text with the id in it. Everything else, comments included, stays as it is.
pub fn join_text(name: &str, text: &str, id: Guid) -> Result<String, JoinError> {
    let seed = seed::parse(name, text)?;
    if let Some(old) = seed.cluster.id {
        return Err(JoinError::Already(old));
    }
    if matches!(seed.network.addressing, Addressing::Static { .. }) {
        return Err(JoinError::Static(id));
    }
    let wanted = Seed {
        cluster: seed::Cluster {
            id: Some(id),
            ..seed.cluster.clone()
        },
        ..seed
    };
    let joined = insert(text, id).ok_or(JoinError::NoPlace(id))?;
    match seed::parse(name, &joined)? == wanted {
        true => Ok(joined),
        false => Err(JoinError::NoPlace(id)),
    }
}

/// Puts the id before the first key below `cluster:`, in block style or within braces.
fn insert(text: &str, id: Guid) -> Option<String> {
    let mut at = 0;
    let mut below = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        if below && !content.is_empty() && !content.starts_with('#') {
            let indent = &line[..line.len() - line.trim_start().len()];
            return Some(format!("{}{indent}id: {id}\n{}", &text[..at], &text[at..]));
        }
        if let Some(rest) = line.strip_prefix("cluster:") {
            if let Some(brace) = rest.find('{').filter(|at| rest[..*at].trim().is_empty()) {
                let after = at + "cluster:".len() + brace + 1;
                return Some(format!("{}id: {id}, {}", &text[..after], &text[after..]));
            }
            below = true;
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "03030303-0303-8303-8303-030303030303";

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match join_text("seed.yaml", text, ID.parse().unwrap()) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_id_is_put_in_and_nothing_else_changes() {
        const SECRET: &str = "secret: abcdefghijklmnopqrstuvwxyz234567";
        check(
            &format!(
                "# x\nversion: 1\ncluster:   # mine\n\n  # its name\n  name: a\n  {SECRET}\nmachines: {{expect: 3}}\n"
            ),
            &format!(
                "# x\nversion: 1\ncluster:   # mine\n\n  # its name\n  id: {ID}\n  name: a\n  {SECRET}\nmachines: {{expect: 3}}\n"
            ),
        );
        check(
            &format!("cluster: {{name: a, {SECRET}}}\nversion: 1\n"),
            &format!("cluster: {{id: {ID}, name: a, {SECRET}}}\nversion: 1\n"),
        );
        check(
            &format!("version: 1\n\"cluster\": {{name: a, {SECRET}}}\n"),
            &JoinError::NoPlace(ID.parse().unwrap()).to_string(),
        );
        check(
            &format!("version: 1\ncluster: {{name: a, id: {ID}, {SECRET}}}\n"),
            &JoinError::Already(ID.parse().unwrap()).to_string(),
        );
        check(
            &format!(
                "version: 1\ncluster: {{name: a, {SECRET}}}\nnetwork: {{static: {{address: 10.0.0.1/24}}}}\n"
            ),
            &JoinError::Static(ID.parse().unwrap()).to_string(),
        );
        // A machine that is alone may have any name; others need names of their own.
        let fixed = format!("version: 1\ncluster: {{name: a, {SECRET}}}\nhostname: one\n");
        let error = join_text("seed.yaml", &fixed, ID.parse().unwrap()).unwrap_err();
        assert!(
            error.to_string().contains("put {machine} into it"),
            "{error}"
        );
        assert!(join_text("seed.yaml", "version: 1\n", ID.parse().unwrap()).is_err());
    }

    #[test]
    fn a_new_seed_becomes_a_join_seed() {
        let text = seed::new_text("plant", &[7; seed::SECRET_BYTES]);
        let joined = join_text("seed.yaml", &text, ID.parse().unwrap()).unwrap();
        let seed = seed::parse("seed.yaml", &joined).unwrap();
        assert!(seed.joins() && seed.is_of_the_same_cluster(&seed::parse("x", &text).unwrap()));
    }
}
