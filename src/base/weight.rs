//! What a value takes in memory.
//!
//! Owns: [`Weigh`], and what the allocator adds. Must not: bound anything.

use crate::base::token::Token;

/// What the allocator adds to each block.
pub(crate) const BLOCK_BYTES: usize = 8;

/// What a value takes in a cache, in bytes, roughly.
pub(crate) trait Weigh {
    fn weight(&self) -> usize;

    /// Whether this very copy of a token is in that weight.
    fn holds(&self, _token: &Token) -> bool {
        false
    }
}
