//! The module area behind the kernel: modules in the order in which they can be linked, configuration, prefix.

use super::{Error, Parts};
use std::collections::{BTreeMap, BTreeSet};

const MAGIC: &[u8; 4] = b"mimg";
/// Magic number, offset and size.
const AREA_HEADER: usize = 12;
/// Type and size.
const OBJECT_HEADER: usize = 8;
/// Objects begin at multiples of a pointer's size.
const ALIGNMENT: usize = 4;

const TYPE_ELF: u32 = 0;
const TYPE_CONFIG: u32 = 2;
const TYPE_PREFIX: u32 = 3;

/// The whole area. Files of modules go in as they are, whatever is in them: GRUB links them when it runs.
pub(super) fn area(
    parts: &Parts,
    modules: &[&str],
    prefix: &str,
    config: &str,
) -> Result<Vec<u8>, Error> {
    let mut area = vec![0; AREA_HEADER];
    for name in closure(parts, modules)? {
        push(&mut area, TYPE_ELF, parts.get(&format!("{name}.mod"))?)?;
    }
    for (kind, what, text) in [
        (TYPE_CONFIG, "configuration", config),
        (TYPE_PREFIX, "prefix", prefix),
    ] {
        if text.contains('\0') {
            return Err(Error::ZeroByte(what));
        }
        push(&mut area, kind, &[text.as_bytes(), b"\0"].concat())?;
    }
    let size = short(area.len())?;
    area[..4].copy_from_slice(MAGIC);
    area[4..8].copy_from_slice(&(AREA_HEADER as u32).to_le_bytes());
    area[8..12].copy_from_slice(&size.to_le_bytes());
    Ok(area)
}

fn push(area: &mut Vec<u8>, kind: u32, content: &[u8]) -> Result<(), Error> {
    let size = content.len().next_multiple_of(ALIGNMENT);
    area.extend(kind.to_le_bytes());
    area.extend(short(OBJECT_HEADER + size)?.to_le_bytes());
    area.extend(content);
    area.resize(area.len() + size - content.len(), 0);
    Ok(())
}

fn short(size: usize) -> Result<u32, Error> {
    u32::try_from(size).map_err(|_| Error::TooBig {
        what: "module area",
        size: size as u64,
        limit: u32::MAX.into(),
    })
}

/// `modules` and all that they depend on, each after what it needs. Of a module's dependencies the last in
/// `moddep.lst` comes first, as `grub-mkimage` has it: any order would do, and equal bytes can be compared.
fn closure<'a>(parts: &'a Parts, modules: &[&'a str]) -> Result<Vec<&'a str>, Error> {
    let dependencies = dependencies(parts.get("moddep.lst")?)?;
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    // What is still to be visited; `true` once its dependencies are in.
    let mut stack: Vec<(&str, bool)> = modules.iter().rev().map(|name| (*name, false)).collect();
    while let Some((name, ready)) = stack.pop() {
        if ready {
            order.push(name);
        } else if seen.insert(name) {
            stack.push((name, true));
            let needs = dependencies.get(name).into_iter().flatten();
            stack.extend(needs.map(|need| (*need, false)));
        }
    }
    Ok(order)
}

/// Reads `moddep.lst`: in each line a module, a colon, and the modules that it needs.
fn dependencies(list: &[u8]) -> Result<BTreeMap<&str, Vec<&str>>, Error> {
    let lines = list.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let parse = |(index, line)| {
        let text = str::from_utf8(line).ok();
        let (name, needs) = text
            .and_then(|text| text.split_once(':'))
            .ok_or(Error::Dependencies(index + 1))?;
        Ok((name, needs.split_ascii_whitespace().collect()))
    };
    lines.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &str) -> Parts {
        let list = ("moddep.lst".to_owned(), list.as_bytes().to_vec());
        Parts::from_iter([list])
    }

    #[test]
    fn modules_come_after_what_they_need() {
        let check = |list: &str, modules: &[&str], expected: &[&str]| {
            assert_eq!(closure(&parts(list), modules).unwrap(), expected);
        };
        let list = "a: b c\nb: d\nc: d\nd:\ne:\n";
        check(list, &["a"], &["d", "c", "b", "a"]);
        check(list, &["e", "c", "a"], &["e", "d", "c", "b", "a"]);
        check(list, &["a", "b", "a"], &["d", "c", "b", "a"]);
        check(list, &["unknown"], &["unknown"]);
        check("a: b\nb: a\n", &["a"], &["b", "a"]);
        check("a: a", &["a"], &["a"]);
    }

    #[test]
    fn a_damaged_list_is_named_by_its_line() {
        for list in ["a:\n\nb c\n", "a:\n\n\u{1}"] {
            let error = closure(&parts(list), &["a"]).unwrap_err();
            assert!(matches!(error, Error::Dependencies(3)), "{error}");
        }
    }
}
