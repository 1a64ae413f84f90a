//! A boot program to append sections to, with nothing to run in it.

const SECTION_TABLE: usize = 0x80 + 24 + 240;

/// A PE32+ image with a `.text` and a `.sbat` section, and room for `room` more.
pub(crate) fn stub(room: usize) -> Vec<u8> {
    let headers = (SECTION_TABLE + 40 * (2 + room)).next_multiple_of(0x200);
    // The slack up to the alignment is not room: move the PE header towards the end of the headers.
    let shift = (headers - SECTION_TABLE - 40 * (2 + room)) & !7;
    let pe = 0x80 + shift;
    let mut bytes = vec![0; headers + 0x400];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, b"MZ");
    put(0x3c, &(pe as u32).to_le_bytes());
    put(pe, b"PE\0\0\x64\x86\x02\0");
    put(pe + 20, &240_u16.to_le_bytes());
    put(pe + 22, &0x22e_u16.to_le_bytes());
    let optional = pe + 24;
    put(optional, &[0x0b, 0x02]);
    for (at, value) in [
        (4, 0x200),
        (8, 0x200),
        (16, 0x1000),
        (20, 0x1000),
        (32, 0x1000),
        (36, 0x200),
        (56, 0x3000),
        (60, headers as u32),
        (64, 0xdead_beef),
        (108, 16),
    ] {
        put(optional + at, &value.to_le_bytes());
    }
    put(optional + 68, &10_u16.to_le_bytes());
    for (i, name, flags) in [
        (0, b".text\0\0\0", 0x6000_0020_u32),
        (1, b".sbat\0\0\0", 0x4000_0040),
    ] {
        let row = optional + 240 + 40 * i;
        put(row, name);
        put(row + 8, &0x123_u32.to_le_bytes());
        put(row + 12, &(0x1000 * (i as u32 + 1)).to_le_bytes());
        put(row + 16, &0x200_u32.to_le_bytes());
        put(row + 20, &((headers + 0x200 * i) as u32).to_le_bytes());
        put(row + 36, &flags.to_le_bytes());
    }
    bytes[headers..].fill(0xaa);
    bytes
}
