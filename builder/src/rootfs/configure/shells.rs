//! `/etc/shells`: the shells that packages declare in `/usr/share/debianutils/shells.d`, each also by its
//! path with `/usr` merged. Stands for debianutils' postinst and trigger.

use crate::rootfs::configure::System;

const TEMPLATE: &str = "usr/share/debianutils/shells";
const SNIPPETS: &str = "usr/share/debianutils/shells.d";

/// Writes the file, unless there is one.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    let Some(template) = system.text(TEMPLATE)? else {
        return Ok(());
    };
    let mut texts = vec![template.clone()];
    let names: Vec<String> = system
        .tree
        .children(SNIPPETS)
        .map(|(name, _)| name)
        .collect();
    for name in names {
        texts.extend(system.text(&format!("{SNIPPETS}/{name}"))?);
    }
    let mut out = template;
    let mut known: Vec<String> = out.lines().map(str::to_owned).collect();
    for text in texts {
        for shell in text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
        {
            let Some((directory, name)) = shell.rsplit_once('/') else {
                continue;
            };
            let real = system
                .tree
                .resolve(directory)
                .map(|directory| format!("/{directory}/{name}"));
            for shell in [Some(shell.to_owned()), real].into_iter().flatten() {
                if !known.contains(&shell) {
                    out.push_str(&format!("{shell}\n"));
                    known.push(shell);
                }
            }
        }
    }
    system.put_new("etc/shells", 0o644, out.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{run, text, tree};

    #[test]
    fn each_shell_is_there_once_by_both_paths() {
        let mut tree = tree(&[
            ("bin -> usr/bin", ""),
            (TEMPLATE, "# comment\n/bin/sh\n"),
            (
                "usr/share/debianutils/shells.d/bash",
                "/bin/bash\n/usr/bin/bash\n",
            ),
        ]);
        run(apply, &mut tree, &[]).unwrap();
        assert_eq!(
            text(&tree, "etc/shells"),
            "# comment\n/bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n"
        );
    }
}
