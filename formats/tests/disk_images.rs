//! Images of disks: written, checked and compared by the reference tools, and images of those read.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/disk.rs"]
mod disk;
#[path = "support/referee.rs"]
mod referee;

use disk::{MIB, assert_same, disk, path};
use formats::disk::{Disk, Error, ReadError};
use formats::qcow2::{self, Compression};
use formats::read_at::ReadAt;
use formats::{seekable_zstd, vhd, vhdx, vmdk};
use proptest::prelude::*;
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Seek, Write};
use std::os::unix::fs::FileExt;
use tempfile::NamedTempFile;

/// What is written here, by the names that qemu-img has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Qcow2(Compression),
    Vmdk,
    Vhd,
    Vhdx,
    Zstd,
}

const ALL: [Format; 6] = [
    Format::Qcow2(Compression::Zstd),
    Format::Qcow2(Compression::Deflate),
    Format::Vmdk,
    Format::Vhd,
    Format::Vhdx,
    Format::Zstd,
];

impl Format {
    fn of_qemu(self) -> Option<&'static str> {
        match self {
            Format::Qcow2(_) => Some("qcow2"),
            Format::Vmdk => Some("vmdk"),
            Format::Vhd => Some("vpc"),
            Format::Vhdx => Some("vhdx"),
            Format::Zstd => None,
        }
    }

    /// The sizes that it can hold are multiples of this.
    fn unit(self) -> u64 {
        match self {
            Format::Vhd => MIB,
            _ => 512,
        }
    }

    fn write(
        self,
        disk: &Disk<'_, impl ReadAt + Sync>,
        out: impl Write + Seek + Send,
    ) -> Result<(), Error> {
        let id = std::array::from_fn(|i| i as u8 + 1);
        match self {
            Format::Qcow2(compression) => qcow2::write(disk, compression, out),
            Format::Vmdk => vmdk::write(disk, 0x1234_5678, out),
            Format::Vhd => vhd::write(disk, &vhd::Options { id, time: DATE }, out),
            Format::Vhdx => vhdx::write(disk, id, out),
            Format::Zstd => seekable_zstd::write(disk, out),
        }
    }

    fn open<'a>(self, file: impl ReadAt + 'a) -> Result<Box<dyn ReadAt + 'a>, ReadError> {
        Ok(match self {
            Format::Qcow2(_) => Box::new(qcow2::Image::open(file)?),
            Format::Vmdk => Box::new(vmdk::Image::open(file)?),
            Format::Vhd => Box::new(vhd::open(file)?),
            Format::Vhdx => Box::new(vhdx::Image::open(file)?),
            Format::Zstd => Box::new(seekable_zstd::Image::open(file)?),
        })
    }
}

const DATE: i64 = 1_760_000_000;

fn image(format: Format, disk: &File) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let disk = Disk::new(disk).unwrap();
    format.write(&disk, BufWriter::new(file.as_file())).unwrap();
    file
}

fn in_memory(format: Format, disk: &Disk<'_, impl ReadAt + Sync>) -> Vec<u8> {
    let mut bytes = Vec::new();
    format.write(disk, Cursor::new(&mut bytes)).unwrap();
    bytes
}

#[test]
fn the_reference_tools_find_the_same_disk() {
    let test = "disk_images::the_reference_tools_find_the_same_disk";
    let cases: [(u64, &[(u64, usize)]); 5] = [
        (512, &[(100, 10)]),
        (MIB, &[]),
        // The last chunk is cut short, and one piece crosses a border.
        (3 * MIB + 512, &[(0, 1), (65_535, 2), (3 * MIB, 512)]),
        (
            9 * MIB,
            &[(0, 1), (65_535, 2), (5 * MIB, 3_000_000), (9 * MIB - 1, 1)],
        ),
        // Over several tables, of which one is not needed.
        (
            1700 * MIB,
            &[
                (0, 512),
                (512 * MIB - 1, 2),
                (1600 * MIB, 3_000_000),
                (1700 * MIB - 1, 1),
            ],
        ),
    ];
    for (size, pieces) in cases {
        let disk = disk(size, pieces);
        for format in ALL {
            if !size.is_multiple_of(format.unit()) {
                continue;
            }
            let image = image(format, disk.as_file());
            println!("{format:?} of {size} bytes");
            match format.of_qemu() {
                Some(name) => judged_by_qemu_img(test, name, &disk, &image),
                None => judged_by_zstd(test, &disk, &image),
            }
            assert_same(disk.as_file(), &*format.open(image.as_file()).unwrap());
        }
    }
}

fn judged_by_qemu_img(test: &str, name: &str, disk: &NamedTempFile, image: &NamedTempFile) {
    if name != "vpc"
        && let Some(text) = referee::run(test, "qemu-img", &["check", "-f", name, path(image)])
    {
        assert!(text.contains("No errors were found"), "{text}");
    }
    let compare = ["compare", "-f", "raw", "-F", name, path(disk), path(image)];
    if let Some(text) = referee::run(test, "qemu-img", &compare) {
        assert!(text.contains("Images are identical"), "{text}");
    }
}

fn judged_by_zstd(test: &str, disk: &NamedTempFile, image: &NamedTempFile) {
    let plain = NamedTempFile::new().unwrap();
    referee::run(test, "zstd", &["-t", path(image)]);
    if referee::run(test, "zstd", &["-dfq", path(image), "-o", path(&plain)]).is_some() {
        assert_same(disk.as_file(), &File::open(plain.path()).unwrap());
    }
}

#[test]
fn what_does_not_shrink_stays_as_it_is() {
    let test = "disk_images::what_does_not_shrink_stays_as_it_is";
    // Every third piece of 100 000 bytes is noise.
    let file = NamedTempFile::new().unwrap();
    let mut noise = disk::noise();
    for i in 0..100_u64 {
        let mut bytes = vec![i as u8; 100_000];
        if i % 3 == 0 {
            bytes.fill_with(|| noise.next().unwrap());
        }
        file.as_file().write_all_at(&bytes, i * 100_000).unwrap();
    }
    file.as_file().set_len(10 * MIB).unwrap();
    for format in ALL {
        let image = image(format, file.as_file());
        match format.of_qemu() {
            Some(name) => judged_by_qemu_img(test, name, &file, &image),
            None => judged_by_zstd(test, &file, &image),
        }
        assert_same(file.as_file(), &*format.open(image.as_file()).unwrap());
    }
}

#[test]
fn the_bytes_stay_the_same() {
    // The same profile is to give the same image with every build of this program: a change here is a
    // change of every image's digest, and belongs in the changelog.
    let disk = disk(3 * MIB, &[(0, 512), (2 * MIB, 100_000)]);
    let sums = ALL.map(|format| {
        let bytes = std::fs::read(image(format, disk.as_file()).path()).unwrap();
        crc32fast::hash(&bytes)
    });
    let expected = [
        0x1676_3c3d,
        0xed7b_3dd3,
        0xf686_fcca,
        0x82c4_a6ec,
        0x5d7f_5f9b,
        0x820b_b7db,
    ];
    assert_eq!(sums, expected, "{sums:#010x?}");
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let disk = disk(40 * MIB, &[(0, 9_000_000), (20 * MIB, 20_000_000)]);
    let disk = Disk::new(disk.as_file()).unwrap();
    for format in ALL {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| in_memory(format, &disk))
        };
        assert!(with(1) == with(5), "{format:?}");
    }
}

#[test]
fn images_of_qemu_img_read() {
    let test = "disk_images::images_of_qemu_img_read";
    let disk = disk(
        40 * MIB,
        &[(0, 512), (5 * MIB + 7, 100_000), (39 * MIB, 512)],
    );
    let convert = |format: &str, options: &[&str]| {
        let image = NamedTempFile::new().unwrap();
        let convert = ["convert", "-f", "raw", "-O", format];
        let args = [&convert[..], options, &[path(&disk), path(&image)]].concat();
        referee::run(test, "qemu-img", &args).map(|_| image)
    };
    let qcow2 = Format::Qcow2(Compression::Zstd);
    let good: [(Format, &[&str]); 13] = [
        (qcow2, &["-o", "compat=0.10"]),
        (qcow2, &["-o", "compat=1.1"]),
        (qcow2, &["-o", "cluster_size=512"]),
        (qcow2, &["-o", "cluster_size=2M"]),
        (qcow2, &["-c"]),
        (qcow2, &["-c", "-o", "compression_type=zstd"]),
        (
            qcow2,
            &["-c", "-o", "compression_type=zstd,cluster_size=2M"],
        ),
        (qcow2, &["-c", "-o", "cluster_size=512"]),
        (Format::Vmdk, &["-o", "subformat=streamOptimized"]),
        (Format::Vmdk, &["-o", "subformat=monolithicSparse"]),
        (Format::Vhd, &["-o", "subformat=fixed,force_size=on"]),
        (Format::Vhdx, &["-o", "subformat=dynamic"]),
        (Format::Vhdx, &["-o", "subformat=fixed"]),
    ];
    for (format, options) in good {
        let name = format.of_qemu().unwrap();
        if let Some(image) = convert(name, options) {
            println!("{name} {options:?}");
            assert_same(disk.as_file(), &*format.open(image.as_file()).unwrap());
        }
    }
    let refused: [(Format, &[&str], &str); 2] = [
        (qcow2, &["-o", "extended_l2=on"], "an incompatible feature"),
        (
            Format::Vhd,
            &["-o", "subformat=dynamic"],
            "a table of blocks",
        ),
    ];
    for (format, options, expected) in refused {
        if let Some(image) = convert(format.of_qemu().unwrap(), options) {
            let error = format.open(image.as_file()).err().unwrap();
            let unsupported =
                matches!(error, ReadError::Unsupported { what, .. } if what == expected);
            assert!(unsupported, "{error}");
        }
    }
}

#[test]
fn zstd_without_a_seek_table_is_refused() {
    let test = "disk_images::zstd_without_a_seek_table_is_refused";
    let disk = disk(MIB, &[(0, 512)]);
    let out = NamedTempFile::new().unwrap();
    if referee::run(test, "zstd", &["-fq", path(&disk), "-o", path(&out)]).is_some() {
        // The tool made another file of that name.
        let file = File::open(out.path()).unwrap();
        let error = seekable_zstd::Image::open(file).unwrap_err();
        assert!(error.to_string().contains("no seek table"), "{error}");
    }
}

#[test]
fn more_than_one_refcount_block_is_checked_too() {
    // 32768 clusters in a refcount block: 2 GiB and a little of a disk that does not shrink.
    struct Noise(u64, Vec<u8>);
    impl ReadAt for Noise {
        fn size(&self) -> std::io::Result<u64> {
            Ok(self.0)
        }
        fn read_exact_at(&self, buf: &mut [u8], _: u64) -> std::io::Result<()> {
            buf.copy_from_slice(&self.1[..buf.len()]);
            Ok(())
        }
    }
    /// Writes whole blocks of noise as holes: only the tables matter to the check.
    struct Sparse<'a>(&'a File, u64, &'a [u8]);
    impl Write for Sparse<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if bytes != self.2 {
                self.0.write_all_at(bytes, self.1)?;
            }
            self.1 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Seek for Sparse<'_> {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            let std::io::SeekFrom::Start(offset) = to else {
                return Err(std::io::ErrorKind::Unsupported.into());
            };
            self.1 = offset;
            Ok(offset)
        }
    }
    let clusters = 32768;
    let block: Vec<u8> = disk::noise().take(65536).collect();
    let source = Noise(clusters * 65536, block.clone());
    let file = NamedTempFile::new().unwrap();
    let disk = Disk::new(&source).unwrap();
    let out = Sparse(file.as_file(), 0, &block);
    qcow2::write(&disk, Compression::Zstd, out).unwrap();
    // Header, L1, 4 L2 tables, refcount table, 2 refcount blocks.
    assert_eq!(
        file.as_file().metadata().unwrap().len(),
        (clusters + 9) * 65536
    );
    let test = "disk_images::more_than_one_refcount_block_is_checked_too";
    if let Some(text) = referee::run(test, "qemu-img", &["check", path(&file)]) {
        assert!(text.contains("No errors were found"), "{text}");
        assert!(text.contains("32768/32768 = 100.00% allocated"), "{text}");
    }
}

#[test]
fn extents_spare_reading_and_bad_ones_are_refused() {
    let disk = disk(MIB, &[(0, 512), (700_000, 512)]);
    let file = disk.as_file();
    let known = vec![0..512, 512..4096, 700_000..700_512];
    let known = Disk::with_extents(file, known).unwrap();
    for format in ALL {
        assert!(in_memory(format, &Disk::new(file).unwrap()) == in_memory(format, &known));
    }
    for extents in [[0..10, 5..20], [10..20, 0..5], [0..10, 20..MIB + 1]] {
        let error = Disk::with_extents(file, extents.to_vec()).unwrap_err();
        assert!(matches!(error, Error::Extent { .. }));
    }
}

#[test]
fn sizes_that_a_format_cannot_have_are_refused() {
    for format in ALL {
        let odd = vec![0; 1000];
        let mut bytes = Cursor::new(Vec::new());
        let result = format.write(&Disk::new(&odd).unwrap(), &mut bytes);
        match format {
            Format::Zstd => result.unwrap(),
            _ => assert!(matches!(result, Err(Error::Size { size: 1000, .. }))),
        }
    }
}

#[test]
fn other_files_are_refused() {
    let check = |format: Format, edit: fn(&mut Vec<u8>), expected: &str| {
        let disk = disk(MIB, &[(0, 512)]);
        let mut bytes = in_memory(format, &Disk::new(disk.as_file()).unwrap());
        edit(&mut bytes);
        let error = format.open(bytes).err().unwrap();
        assert_eq!(error.to_string(), expected);
    };
    let qcow2 = |edit, expected| check(Format::Qcow2(Compression::Zstd), edit, expected);
    qcow2(|b| b[0] = 0, "it is no qcow2 image");
    qcow2(
        |b| b[7] = 4,
        "the qcow2 image has an unknown version, which cannot be read here: convert it to raw with its own tool",
    );
    qcow2(
        |b| b[15] = 1,
        "the qcow2 image has a backing file, which cannot be read here: convert it to raw with its own tool",
    );
    qcow2(
        |b| b[104] = 2,
        "the qcow2 image has an unknown compression, which cannot be read here: convert it to raw with its own tool",
    );
    qcow2(
        |b| b[23] = 8,
        "the qcow2 image's field cluster_bits has the impossible value 8",
    );
    qcow2(
        |b| b[24] = 1,
        "the qcow2 image's field l1_size has the impossible value 1",
    );
    let cut = "reading the qcow2 image's tables failed";
    qcow2(|b| b.truncate(65_540), cut);
    check(Format::Vmdk, |b| b[0] = 0, "it is no vmdk image");
    // In the footer, which counts.
    check(
        Format::Vmdk,
        |b| {
            let at = b.len() - 1024 + 20;
            b[at] = 7;
        },
        "the vmdk image's field grainSize has the impossible value 7",
    );
    check(
        Format::Vmdk,
        |b| b.truncate(b.len() - 512),
        "the vmdk image has no header at its end, which cannot be read here: convert it to raw with its own tool",
    );
    check(
        Format::Vhd,
        |b| b.truncate(b.len() - 1),
        "it is no vhd image",
    );
    check(
        Format::Vhd,
        |b| {
            let at = b.len() - 10;
            b[at] = 1;
        },
        "the checksum of the vhd image's footer does not match",
    );
    check(Format::Vhdx, |b| b[0] = 0, "it is no vhdx image");
    check(
        Format::Vhdx,
        |b| {
            b[65536 + 100] = 1;
            b[131_072 + 100] = 1;
        },
        "the checksum of the vhdx image's headers does not match",
    );
    check(Format::Zstd, |b| b[0] = 0, "it is no zstd image");
    check(
        Format::Zstd,
        |b| b.truncate(b.len() - 1),
        "the zstd image has no seek table, which cannot be read here: convert it to raw with its own tool",
    );
    check(
        Format::Zstd,
        |b| {
            let at = b.len() - 9;
            b[at] = 200;
        },
        "the zstd image's field Number_Of_Frames has the impossible value 200",
    );
}

/// A sparse file costs nothing, so that it can be as long as any table that its header asks for.
#[derive(Debug)]
struct Sparse(Vec<u8>, u64);

impl ReadAt for Sparse {
    fn size(&self) -> io::Result<u64> {
        Ok(self.1)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        assert!(buf.len() <= 64 << 20, "{} bytes are asked for", buf.len());
        for (byte, at) in buf.iter_mut().zip(offset..) {
            *byte = self.0.get(at as usize).copied().unwrap_or(0);
        }
        Ok(())
    }
}

#[test]
fn tables_beyond_all_measure_are_refused_by_name() {
    let disk = disk(MIB, &[(0, 512)]);
    let mut bytes = in_memory(Format::Vmdk, &Disk::new(disk.as_file()).unwrap());
    // The footer counts: a header at the front that names its own directory is read instead.
    bytes[56..64].copy_from_slice(&1_u64.to_le_bytes());
    bytes[12..20].copy_from_slice(&(1_u64 << 54).to_le_bytes());
    let error = vmdk::Image::open(Sparse(bytes, 1 << 60)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the vmdk image's field capacity has the impossible value 18014398509481984"
    );
    let (file, size) = (NamedTempFile::new().unwrap(), 2 << 30);
    file.as_file().set_len(size).unwrap();
    let put = |bytes: &[u8], at| file.as_file().write_all_at(bytes, at).unwrap();
    put(&[0x28, 0xb5, 0x2f, 0xfd], 0);
    put(&0x07ff_ffff_u32.to_le_bytes(), size - 9);
    put(&[0, 0xb1, 0xea, 0x92, 0x8f], size - 5);
    let error = seekable_zstd::Image::open(file.reopen().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the zstd image's field Number_Of_Frames has the impossible value 134217727"
    );
}

#[test]
fn one_damaged_copy_of_vhdx_tables_is_no_matter() {
    let disk = disk(MIB, &[(0, 512)]);
    let mut bytes = in_memory(Format::Vhdx, &Disk::new(disk.as_file()).unwrap());
    bytes[65536 + 100] = 1;
    bytes[3 * 65536 + 100] = 1;
    assert_same(disk.as_file(), &*Format::Vhdx.open(bytes).unwrap());
}

/// Where an image has its tables, so that damage hits them.
fn tables(format: Format, len: usize) -> Vec<usize> {
    match format {
        Format::Qcow2(_) => vec![0, 65_536, len.saturating_sub(3 * 65_536)],
        Format::Vmdk => vec![0, 512, 65_536, len - 1024, len - 2560, len - 5120],
        Format::Vhd => vec![len - 512],
        Format::Vhdx => [0, 64, 128, 192, 256, 2048, 2112, 3072]
            .map(|kib| kib << 10)
            .into(),
        Format::Zstd => vec![0, len - 40, len - 17, len - 9],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_disk_round_trips(
        sectors in 1..4000_u64,
        pieces in prop::collection::vec((0..2_000_000_usize, 1..100_000_usize, any::<u8>()), 0..6),
    ) {
        let mut bytes = vec![0; sectors as usize * 512];
        for (at, len, byte) in pieces {
            let end = bytes.len().min(at + len);
            bytes[at.min(end)..end].fill(byte);
        }
        for format in ALL {
            bytes.resize(bytes.len().next_multiple_of(format.unit() as usize), 0);
            let image = in_memory(format, &Disk::new(&bytes).unwrap());
            let image = format.open(image).unwrap();
            prop_assert!(image.read_vec_at(0, bytes.len()).unwrap() == bytes);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        edits in prop::collection::vec((0..8_usize, 0..128_usize, any::<u8>()), 0..10),
        cut in prop::option::weighted(0.3, 0..400_000_usize),
    ) {
        let mut disk = vec![0; 4 << 20];
        disk[70_000] = 1;
        disk[3_000_000..3_000_500].fill(7);
        for format in ALL {
            let mut bytes = in_memory(format, &Disk::new(&disk).unwrap());
            let tables = tables(format, bytes.len());
            for (table, at, byte) in &edits {
                let at = tables[table % tables.len()] + at;
                if let Some(place) = bytes.get_mut(at) {
                    *place = *byte;
                }
            }
            bytes.truncate(cut.unwrap_or(usize::MAX));
            if let Ok(image) = format.open(bytes) {
                for at in [0, 70_000, 3_000_000, 1 << 22, image.size().unwrap().saturating_sub(9)] {
                    let _ = image.read_vec_at(at, 9);
                }
            }
        }
    }
}
