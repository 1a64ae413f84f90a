//! The early configuration: finds kernel and initrd on what the firmware started, and starts them without a menu.
//!
//! GRUB's kernel reads it with a parser that knows commands, variables and quotes, and goes on after a failure. A
//! kernel without its initrd must never start, which takes a condition. The module `linux` depends on `normal`, so the
//! full script language is in memory anyway: everything is one quoted script that `eval` hands to it. No file with a
//! configuration is read, so nothing that a partition holds changes what GRUB does.
//!
//! The partition is that of the variable `root`, which [`Core::compose`](super::Core::compose)'s prefix sets: a
//! partition by its number on the disk that was started, whatever equal disks the machine has and whatever
//! identifiers the partition gets later.

use std::fmt::Write;

/// The modules that the configuration needs, for disks and CDs.
pub const MODULES: [&str; 13] = [
    "biosdisk",
    "part_gpt",
    "fat",
    "iso9660",
    "serial",
    "terminal",
    "eval",
    "echo",
    "linux",
    "probe",
    "search_fs_uuid",
    "read",
    "reboot",
];

/// The longest command line that x86 kernels take, without the zero at its end (`COMMAND_LINE_SIZE` in
/// `arch/x86/include/asm/setup.h`). GRUB leaves out words that would exceed it and says nothing.
const MAX_COMMAND_LINE: usize = 2047;
/// Characters of a GUID.
const GUID: usize = 36;
/// What GRUB puts in front of the kernel's path, at the start of the command line.
const BOOT_IMAGE: &str = "BOOT_IMAGE=";

/// What is started, and where GRUB talks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot<'a> {
    /// Path of the kernel from the root of its file system.
    pub kernel: &'a str,
    /// Paths there of the archives that make up its initrd, in their order.
    pub initrd: &'a [&'a str],
    /// The kernel's command line. It gets `BOOT_IMAGE=` with the kernel's path in front.
    pub cmdline: &'a str,
    /// The name of an argument that tells the kernel the GUID of the partition that it was started from.
    pub partition: Option<&'a str>,
    /// A serial line that GRUB uses beside the screen and the keyboard, if the machine has it.
    pub serial: Option<Serial>,
    /// The UUID of a file system, as GRUB writes it (`1234-ABCD` of a FAT volume), on whatever disk, that is tried
    /// when kernel or initrd cannot be read from `root`.
    pub elsewhere: Option<&'a str>,
}

/// A serial line with 8 data bits, no parity and one stop bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial {
    /// The port's number, 0 for COM1.
    pub unit: u8,
    /// Bits per second.
    pub speed: u32,
}

/// Why values cannot be told to the kernel by GRUB.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Neither GRUB nor the kernel has a way to write these in a word.
    #[error("the character {character:?} of {word:?} cannot be handed to a kernel through GRUB")]
    Character {
        /// The character.
        character: char,
        /// Where it is.
        word: String,
    },
    /// Quotes that are not those of a whole word or a whole value.
    #[error(
        "the double quotes of {0:?} cannot be handed to a kernel through GRUB: they must enclose the word, or all behind its \"=\""
    )]
    Quotes(String),
    /// A path that is not from the root of the file system.
    #[error("{0:?} is no absolute path")]
    Path(String),
    /// The kernel would see only a part.
    #[error(
        "the kernel's command line has {0} bytes with what GRUB adds, more than {MAX_COMMAND_LINE}"
    )]
    TooLong(usize),
}

/// The configuration's text.
pub fn render(boot: &Boot) -> Result<String, Error> {
    Ok(format!("eval {}\n", quote(&script(boot)?)))
}

/// The script that `eval` gets. Its line ends vanish, so every line ends where a word does.
fn script(boot: &Boot) -> Result<String, Error> {
    let kernel = path(boot.kernel)?;
    let words = words(boot.cmdline)?;
    let length = words
        .iter()
        .fold(BOOT_IMAGE.len() + kernel.len(), |sum, word| {
            sum + 1 + word.len() + if word.contains(' ') { 2 } else { 0 }
        });
    let name = boot.partition.map(word).transpose()?;
    let length = length + name.map_or(0, |name| name.len() + 2 + GUID);
    if length > MAX_COMMAND_LINE {
        return Err(Error::TooLong(length));
    }
    let mut cmdline = quote_all(words.iter().map(String::as_str));
    if let Some(name) = name {
        cmdline += &format!(" {}\"$partition\"", quote(&format!("{name}=")));
    }
    let archives: Result<Vec<&str>, Error> = boot.initrd.iter().map(|text| path(text)).collect();
    let (kernel, initrd) = (quote(kernel), quote_all(archives?));
    let mut script = String::new();
    if let Some(Serial { unit, speed }) = boot.serial {
        let _ = writeln!(
            script,
            "if serial --unit={unit} --speed={speed}; then \
             terminal_input console serial; terminal_output console serial; fi;"
        );
    }
    let _ = writeln!(
        script,
        "function start {{ \
         probe --set=partition --part-uuid ($root); \
         if linux {kernel} {cmdline}; then \
         if initrd {initrd}; then boot; echo \"The kernel\" {kernel} \"on ($root) did not start.\"; \
         else echo \"The initial RAM disk\" {initrd} \"cannot be read from ($root).\"; fi; \
         else echo \"The kernel\" {kernel} \"cannot be read from ($root).\"; fi; }};\n\
         start;"
    );
    if let Some(uuid) = boot.elsewhere {
        let uuid = quote(word(uuid)?);
        let _ = writeln!(script, "if search.fs_uuid {uuid} root; then start; fi;");
    }
    script += "echo \"Write the image to this disk again, or start the machine from another one.\";\n\
               echo \"Press Enter to restart.\";\n\
               read;\n\
               reboot";
    Ok(script)
}

/// Text as one word, for both of GRUB's parsers.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn quote_all<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn path(text: &str) -> Result<&str, Error> {
    match text.starts_with('/') {
        true => word(text),
        false => Err(Error::Path(text.to_owned())),
    }
}

/// Refuses what does not reach the kernel as it is. GRUB writes a backslash before quotes and backslashes, and
/// kernels read backslashes literally; it takes only spaces for a reason to enclose a word in quotes.
fn word(text: &str) -> Result<&str, Error> {
    let refused =
        |character: &char| character.is_control() || matches!(character, '\\' | '\'' | '"');
    match text.chars().find(refused) {
        None => Ok(text),
        Some(character) => Err(Error::Character {
            character,
            word: text.to_owned(),
        }),
    }
}

/// The words of a command line without their quotes, which the kernel takes for the same: `a="b c"` is `"a=b c"`, as GRUB
/// writes it (`next_arg` in the kernel's `lib/cmdline.c`).
fn words(cmdline: &str) -> Result<Vec<String>, Error> {
    let mut quoted = false;
    let outside = |character: char| {
        quoted ^= character == '"';
        character == ' ' && !quoted
    };
    let words = cmdline.split(outside).filter(|word| !word.is_empty());
    words.map(unquote).collect()
}

fn unquote(text: &str) -> Result<String, Error> {
    let bare = match text.split_once('"') {
        None => text.to_owned(),
        Some((key, value)) => {
            let value = value.strip_suffix('"').filter(|value| !value.contains('"'));
            let whole = key.is_empty() || key.find('=') == Some(key.len() - 1);
            let value = value.filter(|_| whole);
            format!(
                "{key}{}",
                value.ok_or_else(|| Error::Quotes(text.to_owned()))?
            )
        }
    };
    word(&bare)?;
    Ok(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: Boot = Boot {
        kernel: "/EFI/vmlinuz",
        initrd: &["/EFI/microcode", "/EFI/initrd"],
        cmdline: "",
        partition: None,
        serial: None,
        elsewhere: None,
    };

    #[test]
    fn words_are_those_that_the_kernel_sees() {
        let check = |cmdline: &str, expected: &[&str]| {
            assert_eq!(words(cmdline).unwrap(), expected, "{cmdline}");
        };
        check("", &[]);
        check("  a  b=c ", &["a", "b=c"]);
        check(
            r#"d="file a.c +p" "e=f g" h="" i="j""#,
            &["d=file a.c +p", "e=f g", "h=", "i=j"],
        );
        check(
            "$root ${root} $(x) `y` a;b # {c} é |&<>*?~!%",
            &[
                "$root",
                "${root}",
                "$(x)",
                "`y`",
                "a;b",
                "#",
                "{c}",
                "é",
                "|&<>*?~!%",
            ],
        );
    }

    #[test]
    fn words_that_would_change_on_the_way_are_refused() {
        for (cmdline, character) in [
            ("a\\b", '\\'),
            ("a b=it's", '\''),
            ("a\tb", '\t'),
            ("\n", '\n'),
        ] {
            let error = words(cmdline).unwrap_err();
            let same =
                matches!(&error, Error::Character { character: found, .. } if *found == character);
            assert!(same, "{cmdline:?}: {error}");
        }
        for cmdline in [
            r#"a="b"#,
            r#"a"b c""#,
            r#"a="b"c"#,
            r#"a=b="c""#,
            r#"a="b""c""#,
            "\"",
        ] {
            assert!(matches!(words(cmdline), Err(Error::Quotes(_))), "{cmdline}");
        }
    }

    #[test]
    fn a_command_line_has_2047_bytes() {
        let own = BOOT_IMAGE.len() + BOOT.kernel.len() + 1;
        let fits = "x".repeat(MAX_COMMAND_LINE - own);
        for (cmdline, length) in [(fits.clone(), None), (fits.clone() + "x", Some(2048))] {
            let boot = Boot {
                cmdline: &cmdline,
                ..BOOT
            };
            assert_eq!(render(&boot).err(), length.map(Error::TooLong));
        }
        // A space inside a word makes GRUB put quotes around it.
        let spaced = format!("a=\"{} \"", &fits[..fits.len() - 5]);
        assert!(
            render(&Boot {
                cmdline: &spaced,
                ..BOOT
            })
            .is_ok()
        );
        let spaced = format!("a=\"{} \"", &fits[..fits.len() - 4]);
        let error = render(&Boot {
            cmdline: &spaced,
            ..BOOT
        })
        .unwrap_err();
        assert_eq!(error, Error::TooLong(2048));
    }

    #[test]
    fn paths_are_absolute() {
        let error = render(&Boot {
            initrd: &["initrd"],
            ..BOOT
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "\"initrd\" is no absolute path");
    }

    #[test]
    fn the_text_is_one_word_for_eval() {
        let boot = Boot {
            cmdline: "a=$b",
            serial: Some(Serial {
                unit: 1,
                speed: 9600,
            }),
            elsewhere: Some("1234-ABCD"),
            ..BOOT
        };
        let text = render(&boot).unwrap();
        assert!(text.starts_with("eval 'if serial --unit=1 --speed=9600; then "));
        assert!(text.contains(r"if linux '\''/EFI/vmlinuz'\'' '\''a=$b'\''; then"));
        assert!(text.contains(r"if initrd '\''/EFI/microcode'\'' '\''/EFI/initrd'\''; then boot;"));
        assert!(text.contains(r"if search.fs_uuid '\''1234-ABCD'\'' root; then start; fi;"));
        assert!(text.ends_with("reboot'\n"));
    }
}
