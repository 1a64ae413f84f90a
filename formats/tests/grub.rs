//! GRUB for PC BIOS: composed from synthetic parts, and from Debian's, beside what `grub-mkimage` makes of
//! those.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/grub.rs"]
mod grub;
#[path = "support/referee.rs"]
mod referee;
#[path = "support/unpacked.rs"]
mod unpacked;

use formats::grub::{Core, Error, Parts, config, for_cd, for_disk};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SECTOR: usize = 512;
const CD_SECTOR: usize = 2048;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// An ELF32 file with sections of (type, flags, address, bytes).
fn elf(sections: &[(u32, u32, u32, &[u8])]) -> Vec<u8> {
    let contents: usize = sections.iter().map(|section| section.3.len()).sum();
    let mut bytes = b"\x7fELF\x01\x01\x01".to_vec();
    bytes.resize(52, 0);
    bytes[32..36].copy_from_slice(&(52 + contents as u32).to_le_bytes());
    bytes[46..48].copy_from_slice(&40_u16.to_le_bytes());
    bytes[48..50].copy_from_slice(&(sections.len() as u16 + 1).to_le_bytes());
    let mut table = vec![0; 40];
    for (kind, flags, address, content) in sections {
        let place = (bytes.len() as u32, content.len() as u32);
        for field in [0, *kind, *flags, *address, place.0, place.1, 0, 0, 4, 0] {
            table.extend(field.to_le_bytes());
        }
        bytes.extend(*content);
    }
    bytes.extend(table);
    bytes
}

/// What stands for the package in tests that need no GRUB.
fn synthetic() -> BTreeMap<String, Vec<u8>> {
    let kernel = elf(&[
        (1, 6, 0x9000, b"code"),
        (1, 2, 0x9008, b"constants"),
        (8, 3, 0x9020, &[0; 64]),
        (3, 0, 0, b"names"),
    ]);
    let mut diskboot = vec![0x11; SECTOR];
    diskboot[0x1e8..].fill(0);
    diskboot[0x1fe..].copy_from_slice(&[0x20, 0x08]);
    let files = [
        ("kernel.img", kernel),
        ("lzma_decompress.img", vec![0x22; 100]),
        ("boot.img", vec![0x33; SECTOR]),
        ("diskboot.img", diskboot),
        ("cdboot.img", vec![0x44; CD_SECTOR]),
        ("moddep.lst", b"fat: fshelp\nfshelp:\n".to_vec()),
        ("fat.mod", b"a module".to_vec()),
        ("fshelp.mod", b"another".to_vec()),
    ];
    files.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}

fn compose(files: &BTreeMap<String, Vec<u8>>) -> Result<(Parts, Core), Error> {
    let parts: Parts = files.clone().into_iter().collect();
    let core = Core::compose(&parts, &["fat"], "(,gpt2)/EFI", "boot\n")?;
    Ok((parts, core))
}

/// What the decompressor, `size` bytes of a core, would unpack.
fn unpack(core: &[u8], size: usize) -> Vec<u8> {
    let (compressed, uncompressed) = (u32_at(core, 8), u32_at(core, 12));
    assert_eq!(core.len() - size, compressed as usize);
    // The header of an `.lzma` file: lc=3, lp=0, pb=2, a dictionary of 1 MiB, the size.
    let mut file = vec![0x5d, 0, 0, 0x10, 0];
    file.extend(u64::from(uncompressed).to_le_bytes());
    file.extend(&core[size..]);
    let stream = liblzma::stream::Stream::new_lzma_decoder(u64::MAX).unwrap();
    let mut reader = liblzma::read::XzDecoder::new_stream(&file[..], stream);
    let mut image = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut image).unwrap();
    assert_eq!(image.len(), uncompressed as usize);
    image
}

#[test]
fn the_core_holds_kernel_and_modules() {
    let (parts, core) = compose(&synthetic()).unwrap();
    let disk = for_disk(&parts, &core, 2048, 2048).unwrap();
    let unpadded = SECTOR + 100 + u32_at(&disk.partition, SECTOR + 8) as usize;
    let image = unpack(&disk.partition[SECTOR..unpadded], 100);
    let expected = [
        &b"code\0\0\0\0constants"[..],
        b"mimg\x0c\0\0\0\x50\0\0\0",
        b"\0\0\0\0\x10\0\0\0another\0",
        b"\0\0\0\0\x10\0\0\0a module",
        b"\x02\0\0\0\x10\0\0\0boot\n\0\0\0",
        b"\x03\0\0\0\x14\0\0\0(,gpt2)/EFI\0",
    ];
    assert_eq!(image, expected.concat());
}

#[test]
fn a_disk_is_told_where_its_core_is() {
    let (parts, core) = compose(&synthetic()).unwrap();
    let first = 0x1_2345_6789;
    let disk = for_disk(&parts, &core, first, 2).unwrap();
    assert_eq!(disk.boot_code[0x5c..0x64], first.to_le_bytes());
    assert_eq!(disk.boot_code[0x66..0x68], [0x90, 0x90]);
    assert_eq!(disk.partition.len(), 2 * SECTOR);
    let row = &disk.partition[0x1f4..0x200];
    assert_eq!(row[..8], (first + 1).to_le_bytes());
    assert_eq!(row[8..], [1, 0, 0x20, 0x08]);
    assert_eq!(disk.partition[0x1e8..0x1f4], [0; 12]);
}

#[test]
fn the_bytes_stay_the_same() {
    // A change here is a change of every image's digest, and belongs in the changelog.
    let (parts, core) = compose(&synthetic()).unwrap();
    assert_eq!(
        crc32fast::hash(&for_cd(&parts, &core, 33).unwrap()),
        0x1bb7_9545
    );
}

#[test]
fn errors_say_what_is_wrong() {
    let check = |name: &str, bytes: Option<Vec<u8>>, expected: &str| {
        let mut files = synthetic();
        match bytes {
            Some(bytes) => files.insert(name.to_owned(), bytes),
            None => files.remove(name),
        };
        let made = compose(&files).and_then(|(parts, core)| {
            for_cd(&parts, &core, 33)?;
            for_disk(&parts, &core, 2048, 2048)
        });
        assert_eq!(made.unwrap_err().to_string(), expected);
    };
    let missing = "is missing among those for i386-pc";
    check(
        "fshelp.mod",
        None,
        &format!("GRUB's file fshelp.mod {missing}"),
    );
    check("boot.img", None, &format!("GRUB's file boot.img {missing}"));
    check(
        "cdboot.img",
        Some(vec![0; 512]),
        "GRUB's file cdboot.img has 512 bytes, not 2048",
    );
    check(
        "diskboot.img",
        Some(vec![0; 512]),
        "GRUB's file diskboot.img is damaged: its field segment has the impossible value 0x0",
    );
    check(
        "lzma_decompress.img",
        Some(vec![0; 3585]),
        "GRUB's decompressor takes 3585 bytes, but there is room for 3584",
    );
    check(
        "kernel.img",
        Some(elf(&[(1, 6, 0x8000, b"code")])),
        "GRUB's file kernel.img is damaged: its field sh_addr has the impossible value 0x8000",
    );
    check(
        "kernel.img",
        Some(elf(&[(1, 6, 0x9000, b"code"), (8, 3, 0x67fff, b"xx")])),
        "GRUB's kernel takes 425985 bytes, but there is room for 425984",
    );
    check(
        "moddep.lst",
        Some(b"fat: fshelp\nfshelp\n".to_vec()),
        "GRUB's file moddep.lst is damaged in line 2",
    );
    let (parts, core) = compose(&synthetic()).unwrap();
    let error = for_disk(&parts, &core, 34, 1).unwrap_err();
    let expected =
        "GRUB's core image with its first sector takes 1024 bytes, but there is room for 512";
    assert_eq!(error.to_string(), expected);
    let error = Core::compose(&parts, &[], "a\0b", "").unwrap_err();
    assert_eq!(error.to_string(), "GRUB's prefix has a zero byte");
}

/// Splits off the first `size` bytes.
fn split<'a>(image: &mut &'a [u8], size: usize) -> &'a [u8] {
    let (head, tail) = image.split_at(size);
    *image = tail;
    head
}

/// What differs between images of equal content: sizes of what was compressed, and the place on the disk.
fn without(bytes: &[u8], field: std::ops::Range<usize>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[field].fill(0);
    bytes
}

#[test]
fn grub_mkimage_makes_the_same_core() {
    let test = "grub::grub_mkimage_makes_the_same_core";
    let Some(parts) = grub::parts(test) else {
        return;
    };
    let folder = grub::folder(test).unwrap();
    let decompressor = std::fs::read(folder.join("lzma_decompress.img"))
        .unwrap()
        .len();
    let work = tempfile::tempdir().unwrap();
    let (file, text) = (work.path().join("core.img"), work.path().join("grub.cfg"));
    for (modules, prefix, config) in [
        (&config::MODULES[..], "(,gpt2)/EFI/seedbed", "echo hello\n"),
        (&["biosdisk", "part_gpt", "fat"], "/", "abc"),
        (&["normal", "ext2", "normal"], "", ""),
        (&["btrfs", "lvm", "gfxmenu", "zfs"], "(hd0)/boot", "abcd"),
    ] {
        std::fs::write(&text, config).unwrap();
        let core = Core::compose(&parts, modules, prefix, config).unwrap();
        for format in ["i386-pc", "i386-pc-eltorito"] {
            let mut args = vec!["-O", format, "-d", folder.to_str().unwrap()];
            args.extend(["-o", file.to_str().unwrap(), "-p", prefix]);
            args.extend(["-c", text.to_str().unwrap()]);
            args.extend(modules);
            grub::mkimage(test, &args).unwrap();
            let theirs = std::fs::read(&file).unwrap();
            let (mut theirs, ours) = (&theirs[..], for_cd(&parts, &core, 0).unwrap());
            let mut ours = &ours[..];
            let cdboot = without(split(&mut ours, CD_SECTOR), 8..24);
            if format == "i386-pc-eltorito" {
                assert_eq!(split(&mut theirs, CD_SECTOR), cdboot);
            }
            let sectors = |image: &[u8]| (image.len() - SECTOR).div_ceil(SECTOR);
            for image in [theirs, ours] {
                assert_eq!(usize::from(u16_at(image, 0x1fc)), sectors(image));
            }
            let (first, second) = (split(&mut theirs, SECTOR), split(&mut ours, SECTOR));
            assert_eq!(without(first, 0x1fc..0x1fe), without(second, 0x1fc..0x1fe));
            let code = |core: &[u8]| without(&core[..decompressor], 8..12);
            assert_eq!(code(theirs), code(ours));
            let equal = unpack(theirs, decompressor) == unpack(ours, decompressor);
            assert!(equal, "{format} {modules:?} {prefix:?} {config:?}");
            println!(
                "{format}: {} bytes of grub-mkimage's, {} of ours",
                theirs.len(),
                ours.len()
            );
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        name in prop::sample::select(vec!["kernel.img", "moddep.lst", "diskboot.img", "lzma_decompress.img"]),
        edits in prop::collection::vec((0..4096_usize, any::<u8>()), 0..6),
        len in prop::option::of(0..600_usize),
    ) {
        let mut files = synthetic();
        let bytes = files.get_mut(name).unwrap();
        for (at, byte) in edits {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Some(len) = len {
            bytes.truncate(len);
        }
        if let Ok((parts, core)) = compose(&files) {
            let _ = for_cd(&parts, &core, u32::MAX);
            let _ = for_disk(&parts, &core, u64::MAX, u64::MAX);
        }
    }
}
