//! A kernel that shows what a boot loader hands over: it writes its command line and its initrd to COM1 and ends QEMU.
//!
//! Its header is that of a bzImage (the kernel's `Documentation/arch/x86/boot.rst`), entered in 32-bit mode with `esi` at
//! the boot parameters.

const SETUP_SECTORS: usize = 1;
const SECTOR: usize = 512;
/// Sector 0 and the setup code; what follows is loaded for protected mode.
const CODE: usize = (1 + SETUP_SECTORS) * SECTOR;

/// Writes the command line, a line end, and the initrd to COM1.
const PROGRAM: &[u8] = &[
    0x8b, 0x9e, 0x28, 0x02, 0x00, 0x00, // mov ebx, [esi+0x228]: the command line
    0x8a, 0x03, //                         1: mov al, [ebx]
    0x84, 0xc0, //                         test al, al
    0x74, 0x08, //                         jz 2f
    0xe8, 0x25, 0x00, 0x00, 0x00, //       call put
    0x43, //                               inc ebx
    0xeb, 0xf2, //                         jmp 1b
    0xb0, 0x0a, //                         2: mov al, '\n'
    0xe8, 0x1b, 0x00, 0x00, 0x00, //       call put
    0x8b, 0x9e, 0x18, 0x02, 0x00, 0x00, // mov ebx, [esi+0x218]: the initrd
    0x8b, 0x8e, 0x1c, 0x02, 0x00, 0x00, // mov ecx, [esi+0x21c]: its size
    0xe3, 0x0a, //                         3: jecxz 4f
    0x8a, 0x03, //                         mov al, [ebx]
    0xe8, 0x06, 0x00, 0x00, 0x00, //       call put
    0x43, //                               inc ebx
    0xe2, 0xf6, //                         loop 3b + 2
    0xe6, 0xf4, //                         4: out 0xf4, al: QEMU's isa-debug-exit
    0xf4, //                               hlt
    0x88, 0xc4, //                         put: mov ah, al
    0x66, 0xba, 0xfd, 0x03, //             mov dx, 0x3fd: line status
    0xec, //                               5: in al, dx
    0xa8, 0x20, //                         test al, 0x20: the transmitter is empty
    0x74, 0xfb, //                         jz 5b
    0x66, 0xba, 0xf8, 0x03, //             mov dx, 0x3f8
    0x88, 0xe0, //                         mov al, ah
    0xee, //                               out dx, al
    0xc3, //                               ret
];

/// The kernel's file.
pub(crate) fn image() -> Vec<u8> {
    let mut bytes = vec![0; CODE];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0x1f1, &[SETUP_SECTORS as u8]);
    put(0x1fe, &[0x55, 0xaa]);
    // The jump's distance tells where the header ends.
    put(0x200, &[0xeb, 0x66]);
    put(0x202, b"HdrS");
    put(0x206, &0x020c_u16.to_le_bytes());
    put(0x211, &[1]); // loadflags: loaded to 1 MiB or higher
    put(0x214, &0x10_0000_u32.to_le_bytes()); // code32_start
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes()); // initrd_addr_max
    put(0x230, &0x10_0000_u32.to_le_bytes()); // kernel_alignment
    put(0x234, &[1, 20]); // relocatable, least alignment of 1 MiB
    put(0x238, &2047_u32.to_le_bytes()); // cmdline_size
    put(0x258, &0x100_0000_u64.to_le_bytes()); // pref_address
    put(0x260, &0x1_0000_u32.to_le_bytes()); // init_size
    bytes.extend(PROGRAM);
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    bytes
}
