//! An allocator that refuses what no input of a fuzzer can need: a reader takes memory for bytes that it has seen,
//! not for a number that it was told.

use std::alloc::{GlobalAlloc, Layout, System};

/// Most bytes that may be asked for at once.
const MOST: usize = 256 << 20;

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// Ends the program, which the fuzzer takes for a crash and keeps the input.
fn check(size: usize) {
    if size > MOST {
        // Whatever allocates again here asks for little.
        eprintln!("{size} bytes are asked for at once");
        std::process::abort();
    }
}

// SAFETY: all is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}
