#!/usr/bin/env bash
# Makes DIR a Rust toolchain that builds fully static programs for aarch64-unknown-linux-musl, from Debian's packages.
#
#   musl-toolchain.sh DIR
#   . DIR/env && cargo build --target aarch64-unknown-linux-musl
#
# A standard library belongs to its exact compiler, and a host without rustup's servers cannot get one for a second
# target. So compiler, source of the standard library, and musl come from Debian, and the library is built here.
# A finished DIR is left as it is. About 1 GB; two minutes on two cores, beside the download.
# Needs cargo, gcc, gcc-aarch64-linux-gnu, qemu-user-static, and what debian-packages.sh needs.
set -euo pipefail
dir=$(realpath -m "${1:?usage: $0 DIR}")
[[ ! -e $dir/env ]] || { echo "already made: $dir"; exit 0; }
target=aarch64-unknown-linux-musl gnu=aarch64-linux-gnu musl=$dir/usr/lib/aarch64-linux-musl
packages=$(dirname "$(realpath "$0")")/debian-packages.sh

"$packages" --with '^lib(std-rust-web|llvm)' bookworm,bookworm-security "$dir" \
  rustc-web libstd-rust-web-dev rust-web-src musl-dev:arm64
printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$dir/usr/lib/x86_64-linux-gnu" "$dir/usr/bin/rustc" > "$dir/rustc"

# C is compiled by Debian's cross compiler, with musl's headers in place of glibc's.
gcc=$(dirname "$($gnu-gcc -print-libgcc-file-name)")
printf '#!/bin/sh\nexec %s -nostdinc -isystem %s -isystem %s "$@"\n' \
  "$gnu-gcc" "$dir/usr/include/aarch64-linux-musl" "$gcc/include" > "$dir/cc"
chmod +x "$dir/rustc" "$dir/cc"

# What rustc links a static program with: musl's start files and library, and gcc's. The linker must be the plain cross
# compiler: musl-gcc passes over -static-pie, and what comes out looks for a dynamic linker.
lib=$dir/usr/lib/rustlib/$target/lib
mkdir -p "$lib/self-contained"
cp "$musl"/{crt1.o,rcrt1.o,Scrt1.o,crti.o,crtn.o,libc.a} "$gcc"/{crtbegin.o,crtbeginS.o,crtend.o,crtendS.o,libgcc.a} \
  "$lib/self-contained/"
cp "$gcc/libgcc_eh.a" "$lib/self-contained/libunwind.a"

# gcc's unwinder was made for glibc: it asks _dl_find_object for the tables of a piece of code, which musl does not
# have. Without this a program ends at its first panic, where it should unwind.
cat > "$dir/find_object.c" <<'C'
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stddef.h>

/* glibc's answer; only the place of the tables is read from a static program. */
struct dl_find_object {
  unsigned long long flags;
  void *map_start, *map_end;
  struct link_map *link_map;
  void *eh_frame;
  unsigned long long reserved[7];
};

struct search { ElfW(Addr) code; struct dl_find_object *answer; };

static int look(struct dl_phdr_info *object, size_t size, void *data) {
  struct search *search = data;
  ElfW(Addr) start = ~(ElfW(Addr))0, end = 0, tables = 0;
  int inside = 0;
  (void)size;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    ElfW(Addr) from = object->dlpi_addr + segment->p_vaddr, to = from + segment->p_memsz;
    if (segment->p_type == PT_GNU_EH_FRAME) tables = from;
    if (segment->p_type != PT_LOAD) continue;
    if (from < start) start = from;
    if (to > end) end = to;
    if (search->code >= from && search->code < to) inside = 1;
  }
  if (!inside || !tables) return 0;
  *search->answer = (struct dl_find_object){
    .map_start = (void *)start, .map_end = (void *)end, .eh_frame = (void *)tables,
  };
  return 1;
}

int _dl_find_object(void *code, struct dl_find_object *answer) {
  struct search search = { (ElfW(Addr))code, answer };
  return dl_iterate_phdr(look, &search) ? 0 : -1;
}

/* The unwinder takes locks if these are there; it names them weakly, which takes nothing out of a static library. */
__attribute__((used)) static void *const wanted[] = {
  (void *)pthread_once, (void *)pthread_key_create, (void *)pthread_getspecific,
  (void *)pthread_setspecific, (void *)pthread_mutex_lock, (void *)pthread_mutex_unlock,
};
C
"$dir/cc" -O2 -fPIC -Wall -c "$dir/find_object.c" -o "$dir/find_object.o"
$gnu-ar r "$lib/self-contained/libunwind.a" "$dir/find_object.o"

# An empty crate makes cargo build the standard library.
std=$dir/std
mkdir -p "$std/src"
: > "$std/src/lib.rs"
printf '[package]\nname = "std-for-%s"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' "$target" > "$std/Cargo.toml"
env -u RUSTFLAGS RUSTC="$dir/rustc" RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$std/target" \
  RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$dir/usr/src=/usr/src" \
  cargo build -q -Zbuild-std=std,panic_unwind,panic_abort,proc_macro --release --target "$target" --manifest-path "$std/Cargo.toml"
find "$std/target/$target/release/deps" -name '*.rlib' ! -name 'libstd_for_*' -exec cp -t "$lib" {} +
rm -rf "$std" "$dir"/find_object.[co] "$dir/usr/src"

# Whether a panic unwinds is seen in a program that catches one.
cat > "$dir/catch.rs" <<'R'
fn main() {
    let caught = std::thread::spawn(|| panic!("this is to be caught")).join().is_err();
    std::process::exit(if caught { 0 } else { 1 });
}
R
"$dir/rustc" --edition 2024 --target "$target" -C linker="$gnu-gcc" -C target-feature=+crt-static -o "$dir/catch" "$dir/catch.rs"
qemu-aarch64-static "$dir/catch" 2> /dev/null || { echo "programs of this toolchain do not survive a panic" >&2; exit 1; }
rm "$dir"/catch*

upper=${target^^} upper=${upper//-/_}
cat > "$dir/env.new" <<S
export RUSTC=$dir/rustc
export CARGO_TARGET_${upper}_LINKER=$gnu-gcc CC_${target//-/_}=$dir/cc AR_${target//-/_}=$gnu-ar
S
mv "$dir/env.new" "$dir/env"
echo "made $dir"
