//! A tiny Debian archive for tests: real packages, real indices, a real signature, all from memory.
//!
//! Nothing in the product uses this; it stands in the library because the tests of several crates and the
//! command's own tests need the same archive. Everything is a function of the arguments, so that a failure can
//! be repeated: keys are derived from a label and are worthless as secrets.

pub mod archive;
pub mod deb;
pub mod key;
