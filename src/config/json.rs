//! Reading a JSON object field by field while *collecting* faults.
//!
//! Owns: the walk over the raw configuration through the entries of the table, the path of every fault
//! (`providers[0].client_secret: …`), the rule that an unknown field is a fault, and the look-up of `{"env": "NAME"}` secrets.
//! A configuration is read once, and a copy of a reader for each setting takes bytes of the module: `inline(never)`.
//! Must not: know what any field means, or put a value that may be secret into a fault.

use serde_json::{Map, Value};

use super::faults::Faults;
use super::table::kinds::{
    Anything, Boolean, Integer, NamedSections, Need, OneSecret, Rule, Secrets, Section, Sections, Text,
    Texts, Unused, Words,
};
use crate::base::secret::Secret;

/// Looks a variable of the VM's environment up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One JSON object that is being read.
pub(crate) struct Object<'a> {
    path: String,
    fields: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
    is_foreign: bool,
    faults: &'a Faults,
    environment: Environment<'a>,
}

impl<'a> Object<'a> {
    pub(crate) fn root(value: &'a Value, faults: &'a Faults, environment: Environment<'a>) -> Self {
        Self::at(String::new(), Some(value), faults, environment)
    }

    /// An object that comes from elsewhere: fields that are not read are no fault, and no variable is looked up for it.
    pub(crate) fn foreign(value: &'a Value, faults: &'a Faults) -> Self {
        let mut object = Self::at(String::new(), Some(value), faults, &|_| None);
        object.is_foreign = true;
        object
    }

    #[inline(never)]
    fn at(path: String, value: Option<&'a Value>, faults: &'a Faults, environment: Environment<'a>) -> Self {
        let fields = value.and_then(Value::as_object);
        if value.is_some() && fields.is_none() {
            faults.add(if path.is_empty() { "configuration" } else { &path }, "must be an object");
        }
        Self { path, fields, known: Vec::new(), is_foreign: false, faults, environment }
    }

    /// The full path of a field, for a fault that the caller finds.
    #[inline(never)]
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The full path of an item of a list.
    #[inline(never)]
    fn path_at(&self, name: &str, index: usize) -> String {
        format!("{}[{index}]", self.path_of(name))
    }

    #[inline(never)]
    pub(crate) fn fault(&self, name: &str, what: &str) {
        self.faults.add(&self.path_of(name), what);
    }

    /// A fault of one item of a list.
    pub(crate) fn fault_at(&self, name: &str, index: usize, what: &str) {
        self.faults.add(&self.path_at(name, index), what);
    }

    /// `null` counts as absent: authentik's API writes it for "not set".
    #[inline(never)]
    fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.fields?.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there.
    #[inline(never)]
    pub(crate) fn has(&mut self, name: &'static str) -> bool {
        self.get(name).is_some()
    }

    /// A field that is accepted and not used.
    #[inline(never)]
    pub(crate) fn accept(&mut self, setting: &'static Unused) {
        self.known.push(setting.name);
    }

    /// An object. If it may be left out, its fields then all have their defaults.
    #[inline(never)]
    pub(crate) fn section(&mut self, setting: &'static Section) -> Object<'a> {
        let value = self.get(setting.name);
        if value.is_none() && setting.need == Need::Always {
            self.fault(setting.name, "is required");
        }
        let mut section = Object::at(self.path_of(setting.name), value, self.faults, self.environment);
        section.is_foreign = setting.is_foreign;
        section
    }

    /// An object that may be left out, and then means that there is no such thing.
    pub(crate) fn optional_section(&mut self, setting: &'static Section) -> Option<Object<'a>> {
        self.get(setting.name)?;
        Some(self.section(setting))
    }

    /// Reads each object of a list: one at least, if one `is_needed`. Returns how many there are.
    pub(crate) fn for_each_section(
        &mut self,
        setting: &'static Sections,
        is_needed: bool,
        mut read: impl FnMut(Object<'a>),
    ) -> usize {
        let Some(value) = self.get(setting.name) else {
            if is_needed {
                self.fault(setting.name, "is required");
            }
            return 0;
        };
        let Some(items) = value.as_array() else {
            self.fault(setting.name, "must be a list of objects");
            return 0;
        };
        if items.is_empty() && is_needed {
            self.fault(setting.name, "must name at least one");
        }
        for (index, item) in items.iter().enumerate() {
            let path = self.path_at(setting.name, index);
            read(Object::at(path, Some(item), self.faults, self.environment));
        }
        items.len()
    }

    /// Reads each object of an object, with its name.
    pub(crate) fn for_each_named(
        &mut self,
        setting: &'static NamedSections,
        mut read: impl FnMut(&str, Object<'a>),
    ) {
        let Some(value) = self.get(setting.name) else { return };
        let Some(fields) = value.as_object() else {
            self.fault(setting.name, "must be an object");
            return;
        };
        let path = self.path_of(setting.name);
        for (name, value) in fields {
            read(name, Object::at(format!("{path}.{name}"), Some(value), self.faults, self.environment));
        }
    }

    /// A string that keeps its rule as far as control characters go; the caller holds it to the rest. `default` when it is
    /// absent or no string.
    #[inline(never)]
    pub(crate) fn text(&mut self, setting: &'static Text) -> &'a str {
        let absent = setting.default.unwrap_or_default();
        let is_required = setting.need == Need::Always;
        let Some(value) = self.get(setting.name) else {
            if is_required {
                self.fault(setting.name, "is required");
            }
            return absent;
        };
        // The seal's rule leaves them no room either.
        let may_have_controls = matches!(setting.rule, Rule::Lines | Rule::SealHeader);
        let Some(text) = self.string(setting.name, value, may_have_controls) else { return absent };
        if is_required && text.is_empty() {
            self.fault(setting.name, "must not be empty");
        }
        text
    }

    /// A copy of it.
    #[inline(never)]
    pub(crate) fn owned_text(&mut self, setting: &'static Text) -> String {
        self.text(setting).to_owned()
    }

    fn string(&self, name: &str, value: &'a Value, may_have_controls: bool) -> Option<&'a str> {
        let text = value.as_str();
        if text.is_none() {
            self.fault(name, "must be a string");
        }
        // It may end up in a header or a log line.
        if !may_have_controls && text.is_some_and(|text| text.chars().any(char::is_control)) {
            self.fault(name, "must not have control characters");
        }
        text
    }

    #[inline(never)]
    pub(crate) fn boolean(&mut self, setting: &'static Boolean) -> bool {
        let Some(value) = self.get(setting.name) else { return setting.default };
        value.as_bool().unwrap_or_else(|| {
            self.fault(setting.name, "must be true or false");
            setting.default
        })
    }

    /// Istio hands numbers over as doubles, so `60.0` is 60.
    #[inline(never)]
    pub(crate) fn integer(&mut self, setting: &'static Integer) -> u32 {
        let Integer { name, least, most, default } = *setting;
        let Some(value) = self.get(name) else { return default };
        whole_number(value).filter(|number| (least..=most).contains(number)).unwrap_or_else(|| {
            self.fault(name, &format!("must be a whole number from {least} to {most}"));
            default
        })
    }

    #[inline(never)]
    pub(crate) fn word<T: Copy>(&mut self, setting: &'static Words<T>) -> T {
        let index = self.index_of_word(setting.name, setting.words);
        index.and_then(|index| setting.meanings.get(index)).copied().unwrap_or(setting.default)
    }

    /// Which of the words it is; `None` when it is absent, or after a fault.
    #[inline(never)]
    fn index_of_word(&mut self, name: &'static str, words: &[&str]) -> Option<usize> {
        let value = self.get(name)?;
        let text = self.string(name, value, false)?;
        let index = words.iter().position(|word| *word == text);
        if index.is_none() {
            self.fault(name, &format!("must be one of \"{}\"", words.join("\", \"")));
        }
        index
    }

    /// A list of non-empty strings; `None` when it is absent and has no default.
    #[inline(never)]
    pub(crate) fn texts(&mut self, setting: &'static Texts) -> Option<Vec<&'a str>> {
        let Some(value) = self.get(setting.name) else { return setting.default.map(<[_]>::to_vec) };
        let mut texts = Vec::new();
        let is_text = |item: &'a Value| {
            let text = item.as_str().unwrap_or_default();
            texts.push(text);
            !text.is_empty()
        };
        if !value.as_array().is_some_and(|items| items.iter().all(is_text)) {
            self.fault(setting.name, "must be a list of non-empty strings");
            return None;
        }
        Some(texts)
    }

    /// Whether a field of a foreign object is a list of just this word. What else it may be is none of our business.
    pub(crate) fn is_list_of(&mut self, setting: &'static Anything, word: &str) -> bool {
        let items = self.get(setting.name).and_then(Value::as_array);
        matches!(items.map(Vec::as_slice), Some([item]) if item.as_str() == Some(word))
    }

    /// A string, or `{"env": "NAME"}`. Missing or empty is a fault.
    #[inline(never)]
    pub(crate) fn secret(&mut self, setting: &'static OneSecret) -> Secret<String> {
        match self.get(setting.name) {
            Some(value) => self.secret_value(&self.path_of(setting.name), value),
            None => {
                self.fault(setting.name, "is required");
                Secret::default()
            }
        }
    }

    /// The same where it may be absent.
    pub(crate) fn optional_secret(&mut self, setting: &'static OneSecret) -> Option<Secret<String>> {
        self.has(setting.name).then(|| self.secret(setting))
    }

    /// One secret or a list of them; empty when the field is absent. The caller holds them to number, length and rule.
    #[inline(never)]
    pub(crate) fn secrets(&mut self, setting: &'static Secrets) -> Vec<Secret<String>> {
        let mut secrets = Vec::new();
        match self.get(setting.name) {
            None => {}
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    secrets.push(self.secret_value(&self.path_at(setting.name, index), item));
                }
            }
            Some(value) => secrets.push(self.secret_value(&self.path_of(setting.name), value)),
        }
        secrets
    }

    #[inline(never)]
    fn secret_value(&self, path: &str, value: &Value) -> Secret<String> {
        let fault = |what: &str| {
            self.faults.add(path, what);
            Secret::default()
        };
        if let Some(secret) = value.as_str() {
            return if secret.is_empty() {
                fault("must not be empty")
            } else {
                Secret::new(secret.to_owned())
            };
        }
        let variable =
            value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.get("env"));
        let Some(name) = variable.and_then(Value::as_str) else {
            return fault("must be a string or {\"env\": \"NAME\"}");
        };
        match (self.environment)(name).filter(|secret| !secret.is_empty()) {
            Some(secret) => Secret::new(secret),
            None => fault(&format!("the environment variable {name} is missing or empty in the VM")),
        }
    }
}

/// The end of the object: every field that nobody asked for is a fault, however its reader ended.
impl Drop for Object<'_> {
    fn drop(&mut self) {
        let Some(fields) = self.fields.filter(|_| !self.is_foreign) else { return };
        for (name, _) in fields {
            if !self.known.contains(&name.as_str()) {
                self.fault(name, "is not a known field");
            }
        }
    }
}

fn whole_number(value: &Value) -> Option<u32> {
    let number = value.as_number()?;
    if let Some(number) = number.as_u64() {
        return u32::try_from(number).ok();
    }
    let float = number.as_f64()?;
    let is_whole = float.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&float);
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked just above"
    )]
    is_whole.then_some(float as u32)
}
