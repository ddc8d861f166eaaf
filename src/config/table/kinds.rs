//! The kinds of setting: all that the parser must know of a setting to read it.
//!
//! Owns: the types of the table's entries.
//! Must not: read a configuration, or have a text for readers of the documentation.

use core::ops::RangeInclusive;

/// The longest time that a setting may have, in seconds.
pub(super) const YEAR: u32 = 366 * 24 * 60 * 60;

/// When a configuration must have a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Wherever the object is that has the setting.
    Always,
    /// Unless sessions are off.
    WithSessions,
    /// If the provider's mode is `forward_domain`.
    InDomainMode,
    /// Unless the providers come from authentik's API.
    WithoutToken,
    /// The setting may be left out.
    Never,
}

/// What a text must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// No control characters: the text may end up in a header or in a log line.
    Plain,
    /// Any number of lines.
    Lines,
    /// At least one character.
    NotEmpty,
    /// authentik's `[-a-zA-Z0-9_]+`.
    Slug,
    /// A cookie domain, or nothing.
    Domain,
    /// An absolute http or https URL without user, query and fragment.
    Url,
    /// An origin as browsers send it (RFC 6454 §6.2).
    Origin,
    /// The name of the seal's header.
    SealHeader,
    /// The name of a header that only the filter may set.
    OwnedHeader,
    /// The short name of one of the twelve identity headers. A list names each once.
    IdentityHeader,
    /// Visible ASCII characters.
    Visible,
}

/// `true` or `false`.
#[derive(Debug)]
pub struct Boolean {
    /// The name of the field.
    pub name: &'static str,
    /// What an absent setting means.
    pub default: bool,
}

impl Boolean {
    pub(super) const fn new(name: &'static str, default: bool) -> Self {
        Self { name, default }
    }
}

/// A whole number. JSON may have it as `60.0`.
#[derive(Debug)]
pub struct Integer {
    /// The name of the field.
    pub name: &'static str,
    /// The least number.
    pub least: u32,
    /// The greatest number.
    pub most: u32,
    /// What an absent setting means.
    pub default: u32,
}

impl Integer {
    /// Does not compile with a default out of the range.
    pub(super) const fn new(name: &'static str, range: RangeInclusive<u32>, default: u32) -> Self {
        let (least, most) = (*range.start(), *range.end());
        assert!(least <= default && default <= most, "the default is out of the range");
        Self { name, least, most, default }
    }
}

/// One of a fixed set of words.
#[derive(Debug)]
pub struct Words<T: 'static> {
    /// The name of the field.
    pub name: &'static str,
    /// The words.
    pub words: &'static [&'static str],
    /// What each word means to the filter: as many, in the same order. Apart, so that one reader knows all words.
    pub meanings: &'static [T],
    /// What an absent setting means.
    pub default: T,
}

impl<T: PartialEq> Words<T> {
    /// The word that means this.
    pub fn word_for(&self, meaning: &T) -> Option<&'static str> {
        let mut words = self.words.iter().zip(self.meanings);
        words.find(|(_, other)| *other == meaning).map(|(word, _)| *word)
    }
}

/// [`Words`] of a name, each word beside its meaning, and the default.
macro_rules! words {
    ($name:literal, [$($word:literal => $meaning:expr),+ $(,)?], $default:expr) => {
        $crate::config::table::kinds::Words {
            name: $name, words: &[$($word),+], meanings: &[$($meaning),+], default: $default,
        }
    };
}
pub(super) use words;

/// A string.
#[derive(Debug)]
pub struct Text {
    /// The name of the field.
    pub name: &'static str,
    /// What the string must be.
    pub rule: Rule,
    /// When it must be there. One that must always be there must not be empty.
    pub need: Need,
    /// What an absent setting means; `None`: nothing, or something that depends on other settings.
    pub default: Option<&'static str>,
}

impl Text {
    pub(super) const fn required(name: &'static str, rule: Rule) -> Self {
        Self { name, rule, need: Need::Always, default: None }
    }

    pub(super) const fn optional(name: &'static str, rule: Rule) -> Self {
        Self { name, rule, need: Need::Never, default: None }
    }

    pub(super) const fn or(name: &'static str, rule: Rule, default: &'static str) -> Self {
        Self { name, rule, need: Need::Never, default: Some(default) }
    }
}

/// A list of strings.
#[derive(Debug)]
pub struct Texts {
    /// The name of the field.
    pub name: &'static str,
    /// What each string must be.
    pub rule: Rule,
    /// What an absent setting means; `None`: all that there are.
    pub default: Option<&'static [&'static str]>,
}

/// A string that must not be seen, or `{"env": "NAME"}`.
#[derive(Debug)]
pub struct OneSecret {
    /// The name of the field.
    pub name: &'static str,
    /// What it must be.
    pub rule: Rule,
    /// When it must be there.
    pub need: Need,
}

/// A secret or a list of secrets.
#[derive(Debug)]
pub struct Secrets {
    /// The name of the field.
    pub name: &'static str,
    /// What each must be.
    pub rule: Rule,
    /// When there must be one.
    pub need: Need,
    /// The least length of each, in bytes. Held only while one is needed.
    pub least_bytes: usize,
    /// Most secrets in the list.
    pub most: usize,
}

/// An object with settings of its own.
#[derive(Debug)]
pub struct Section {
    /// The name of the field.
    pub name: &'static str,
    /// When it must be there.
    pub need: Need,
    /// Whether it comes from elsewhere: fields that are not read are no fault.
    pub is_foreign: bool,
}

impl Section {
    pub(super) const fn required(name: &'static str) -> Self {
        Self { name, need: Need::Always, is_foreign: false }
    }

    pub(super) const fn optional(name: &'static str) -> Self {
        Self { name, need: Need::Never, is_foreign: false }
    }

    pub(super) const fn foreign(name: &'static str) -> Self {
        Self { name, need: Need::Never, is_foreign: true }
    }
}

/// A list of objects.
#[derive(Debug)]
pub struct Sections {
    /// The name of the field.
    pub name: &'static str,
    /// When it must be there, with at least one object.
    pub need: Need,
}

/// An object of objects: each has a name that whoever writes the configuration gives it.
#[derive(Debug)]
pub struct NamedSections {
    /// The name of the field.
    pub name: &'static str,
}

/// Any value. None is a fault.
#[derive(Debug)]
pub struct Anything {
    /// The name of the field.
    pub name: &'static str,
}

/// Any value: accepted, so that an object of authentik's API can be pasted in, and not used.
#[derive(Debug)]
pub struct Unused {
    /// The name of the field.
    pub name: &'static str,
}
