//! The table of settings for readers other than the parser: the JSON Schema, the reference page, hints.
//!
//! Owns: what is said of each kind of setting, and the patterns that stand for the parser's rules.
//! Must not: get into the module (`src/config.rs` compiles it for native tools alone), judge a configuration.

use core::fmt;

use serde_json::{Value, json};

use super::kinds::{
    Anything, Boolean, Integer, NamedSections, Need, OneSecret, Rule, Secrets, Section, Sections, Text,
    Texts, Unused, Words,
};
use crate::base::header::{self, IdentityHeader};

/// A setting and what the documentation says of it.
pub struct Row {
    setting: &'static dyn Setting,
    meaning: &'static str,
    /// Settings of the object, or of each object of the list. Empty for other kinds.
    fields: &'static [&'static [Self]],
    /// When to change it. May be empty.
    pub change: &'static str,
    /// A value in JSON that the parser accepts. May be empty.
    pub example: &'static str,
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Row {
    pub(super) const fn new(setting: &'static dyn Setting, meaning: &'static str) -> Self {
        Self { setting, meaning, fields: &[], change: "", example: "" }
    }

    pub(super) const fn with_fields(self, fields: &'static [&'static [Self]]) -> Self {
        Self { fields, ..self }
    }

    pub(super) const fn with_change(self, change: &'static str) -> Self {
        Self { change, ..self }
    }

    pub(super) const fn with_example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// The name of the field.
    pub fn name(&self) -> &'static str {
        self.setting.describe().name
    }

    /// Settings of the object, or of each object of the list. None for other kinds.
    pub fn fields(&self) -> impl Iterator<Item = &'static Self> + use<> {
        self.fields.iter().copied().flatten()
    }

    /// What the parser knows of it.
    pub fn describe(&self) -> Description {
        self.setting.describe()
    }

    /// One or two plain sentences.
    pub fn meaning(&self) -> &'static str {
        // Each line of a documentation comment begins with a blank.
        self.meaning.trim_start()
    }
}

/// What the parser knows of a setting.
#[derive(Debug)]
pub struct Description {
    /// The name of the field.
    pub name: &'static str,
    /// When it must be there.
    pub need: Need,
    /// What a value may be.
    pub kind: Kind,
    /// What an absent setting means. `None`: nothing, or something that is not one value.
    pub default: Option<Value>,
}

/// What a value may be.
#[derive(Debug)]
pub enum Kind {
    /// An object with the fields of its row. A foreign one may have others too.
    Object {
        /// Whether it may.
        is_foreign: bool,
    },
    /// A list of such objects: at least one, where it must be there.
    Objects,
    /// An object whose fields are such objects, under any names.
    NamedObjects,
    /// Any value.
    Anything,
    /// Any value; it is not used.
    Unused,
    /// `true` or `false`.
    Boolean,
    /// A whole number within this range.
    Integer {
        /// The least.
        least: u32,
        /// The greatest.
        most: u32,
    },
    /// One of these words.
    Words(Vec<&'static str>),
    /// A string.
    Text(Rule),
    /// A list of strings.
    Texts(Rule),
    /// A string that keeps this rule, or the name of a variable of the environment.
    Secret(Rule),
    /// One secret or a list.
    Secrets {
        /// What each must be.
        rule: Rule,
        /// The least length of each, in bytes, while one is needed.
        least_bytes: usize,
        /// Most of them.
        most: usize,
    },
}

/// An entry of the table, of any kind.
pub trait Setting: Sync {
    /// What the parser knows of it.
    fn describe(&self) -> Description;
}

impl Setting for Boolean {
    fn describe(&self) -> Description {
        let default = Some(json!(self.default));
        Description { name: self.name, need: Need::Never, kind: Kind::Boolean, default }
    }
}

impl Setting for Integer {
    fn describe(&self) -> Description {
        let kind = Kind::Integer { least: self.least, most: self.most };
        Description { name: self.name, need: Need::Never, kind, default: Some(json!(self.default)) }
    }
}

impl<T: PartialEq + Sync> Setting for Words<T> {
    fn describe(&self) -> Description {
        let kind = Kind::Words(self.words.to_vec());
        let default = self.word_for(&self.default).map(|word| json!(word));
        Description { name: self.name, need: Need::Never, kind, default }
    }
}

impl Setting for Text {
    fn describe(&self) -> Description {
        let default = self.default.map(|text| json!(text));
        Description { name: self.name, need: self.need, kind: Kind::Text(self.rule), default }
    }
}

impl Setting for Texts {
    fn describe(&self) -> Description {
        let default = self.default.map(|texts| json!(texts));
        Description { name: self.name, need: Need::Never, kind: Kind::Texts(self.rule), default }
    }
}

impl Setting for OneSecret {
    fn describe(&self) -> Description {
        Description { name: self.name, need: self.need, kind: Kind::Secret(self.rule), default: None }
    }
}

impl Setting for Secrets {
    fn describe(&self) -> Description {
        let kind = Kind::Secrets { rule: self.rule, least_bytes: self.least_bytes, most: self.most };
        Description { name: self.name, need: self.need, kind, default: None }
    }
}

impl Setting for Section {
    fn describe(&self) -> Description {
        let kind = Kind::Object { is_foreign: self.is_foreign };
        Description { name: self.name, need: self.need, kind, default: None }
    }
}

impl Setting for Sections {
    fn describe(&self) -> Description {
        Description { name: self.name, need: self.need, kind: Kind::Objects, default: None }
    }
}

impl Setting for NamedSections {
    fn describe(&self) -> Description {
        Description { name: self.name, need: Need::Never, kind: Kind::NamedObjects, default: None }
    }
}

impl Setting for Anything {
    fn describe(&self) -> Description {
        Description { name: self.name, need: Need::Never, kind: Kind::Anything, default: None }
    }
}

impl Setting for Unused {
    fn describe(&self) -> Description {
        Description { name: self.name, need: Need::Never, kind: Kind::Unused, default: None }
    }
}

impl Rule {
    /// What a text that keeps the rule matches, as a pattern of ECMA 262. `None`: every text, or one of [`Self::words`].
    pub const fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Lines | Self::IdentityHeader => None,
            Self::Plain => Some(r"^[^\u0000-\u001f\u007f-\u009f]*$"),
            Self::NotEmpty => Some(r"^[\s\S]+$"),
            Self::Slug => Some("^[-a-zA-Z0-9_]+$"),
            Self::Domain => Some(r"^(\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?)?$"),
            Self::Url => Some(r"^https?://[^/?#@\s]+(/[^/?#\s]+)*/*$"),
            // Lower case, no path, and no port that is the scheme's default.
            Self::Origin => Some(
                r"^(?!http://.*:80$)(?!https://.*:443$)https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$",
            ),
            Self::SealHeader => Some("^[-a-zA-Z0-9]+$"),
            // A token (RFC 9110 §5.6.2).
            Self::OwnedHeader => Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
            Self::Visible => Some("^[!-~]*$"),
        }
    }

    /// The only texts that keep the rule, if there are few.
    pub fn words(self) -> Option<Vec<&'static str>> {
        (self == Self::IdentityHeader).then(|| IdentityHeader::ALL.map(IdentityHeader::short_name).to_vec())
    }

    /// Names of headers that do not keep the rule, in lower case; any case and any sign for `-` count as the same. `*`: all
    /// names that begin so.
    pub fn never(self) -> Vec<String> {
        match self {
            Self::OwnedHeader => header::NEVER_OWNED.map(str::to_owned).to_vec(),
            Self::SealHeader => header::never_a_seal(),
            Self::Plain
            | Self::Lines
            | Self::NotEmpty
            | Self::Slug
            | Self::Domain
            | Self::Url
            | Self::Origin
            | Self::IdentityHeader
            | Self::Visible => Vec::new(),
        }
    }
}

impl Kind {
    /// What stands between the path of such a setting and the name of one of its fields, but for the dot.
    pub const fn suffix(&self) -> &'static str {
        match self {
            Self::Objects => "[]",
            Self::NamedObjects => ".*",
            Self::Object { .. }
            | Self::Anything
            | Self::Unused
            | Self::Boolean
            | Self::Integer { .. }
            | Self::Words(_)
            | Self::Text(_)
            | Self::Texts(_)
            | Self::Secret(_)
            | Self::Secrets { .. } => "",
        }
    }
}

/// Every setting with its path, such as `providers[].client_id` or `provider_overrides.*.federated_bearer`; an object before
/// its fields.
pub fn all() -> Vec<(String, &'static Row)> {
    fn below(rows: impl Iterator<Item = &'static Row>, path: &str, all: &mut Vec<(String, &'static Row)>) {
        for row in rows {
            let name = format!("{path}{}", row.name());
            let fields = format!("{name}{}.", row.describe().kind.suffix());
            all.push((name, row));
            below(&mut row.fields() as &mut dyn Iterator<Item = _>, &fields, all);
        }
    }
    let mut all = Vec::new();
    below(super::ROWS.iter(), "", &mut all);
    all
}

/// The names of the fields of an object: "" is the configuration, `providers[]` one object of the list,
/// `provider_overrides.*` one of those named objects.
pub fn names_in(path: &str) -> Vec<&'static str> {
    let mut rows: Vec<&'static Row> = super::ROWS.iter().collect();
    for step in path.split('.').filter(|step| !matches!(*step, "" | "*")) {
        let name = step.trim_end_matches("[]");
        rows = rows
            .into_iter()
            .find(|row| row.name() == name)
            .map(|row| row.fields().collect())
            .unwrap_or_default();
    }
    rows.into_iter().map(Row::name).collect()
}
