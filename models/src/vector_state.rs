//! Leaves the processor's vector registers as other code expects them.
//!
//! On x86-64 the runtime's matrix kernels use 256 and 512 bit registers and return without clearing
//! their upper halves. Until somebody clears them, every ordinary floating-point or vector instruction
//! of the thread has to merge with those halves and waits for them. The cost does not show where it is
//! caused: without this, the logarithms of the feature stage took ten times as long, and the whole
//! reference job a third longer.
//!
//! The instruction that clears them cannot be given in safe Rust, but every function that was compiled
//! for such registers ends with it. Searching 128 bytes with `memchr`, which picks its widest version for
//! the processor it finds, is the cheapest one at hand: a few nanoseconds per batch.

use std::hint::black_box;

/// Longer than the widest register, so that the search does use them.
const HAYSTACK: [u8; 128] = [0; 128];

/// Clears the upper halves of this thread's vector registers, if the processor has any.
pub(crate) fn clear_upper_halves() {
    black_box(memchr::memchr(1, black_box(&HAYSTACK)));
}
