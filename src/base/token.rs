//! A token that is kept: one copy for all that need it (what it is found by, the proof that it stands for, the header that
//! it is sent in), wiped when the last of them is gone.

use std::rc::Rc;

use crate::base::secret::Secret;

/// A kept token: redacted in `Debug`.
#[derive(Debug, Clone)]
pub struct Token(Rc<Secret<String>>);

impl Token {
    /// Takes a token into custody.
    pub fn new(text: String) -> Self {
        Self(Rc::new(Secret::new(text)))
    }

    /// The token itself. Every call of this is a place to look at in a review.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether both are one copy.
    pub(crate) fn is_one_with(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
