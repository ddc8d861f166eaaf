//! Reading a JSON object field by field while *collecting* faults.
//!
//! Owns: the walk over the raw configuration, the path of every fault (`providers[0].client_secret: …`), the
//! rule that an unknown field is a fault, and the look-up of `{"env": "NAME"}` secrets.
//! Must not: know what any field means, or put a value that may be secret into a fault.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::base::secret::Secret;

/// Looks a variable of the VM's environment up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// All that is wrong with a configuration, in the order it was found.
#[derive(Default)]
pub(crate) struct Faults(RefCell<Vec<String>>);

impl Faults {
    pub(crate) fn add(&self, path: &str, what: impl AsRef<str>) {
        self.0.borrow_mut().push(format!("{path}: {}", what.as_ref()));
    }

    pub(crate) fn into_list(self) -> Vec<String> {
        self.0.into_inner()
    }
}

/// One JSON object that is being read.
pub(crate) struct Object<'a> {
    path: String,
    fields: Option<&'a Map<String, Value>>,
    known: BTreeSet<&'static str>,
    is_foreign: bool,
    faults: &'a Faults,
    environment: Environment<'a>,
}

impl<'a> Object<'a> {
    pub(crate) fn root(value: &'a Value, faults: &'a Faults, environment: Environment<'a>) -> Self {
        Self::at(String::new(), Some(value), faults, environment)
    }

    fn at(path: String, value: Option<&'a Value>, faults: &'a Faults, environment: Environment<'a>) -> Self {
        let fields = value.and_then(Value::as_object);
        if value.is_some() && fields.is_none() {
            faults.add(if path.is_empty() { "configuration" } else { &path }, "must be an object");
        }
        Self { path, fields, known: BTreeSet::new(), is_foreign: false, faults, environment }
    }

    /// The full path of a field, for a fault that the caller finds.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn fault(&self, key: &str, what: impl AsRef<str>) {
        self.faults.add(&self.path_of(key), what);
    }

    /// `null` counts as absent: authentik's API writes it for "not set".
    fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.insert(key);
        self.fields?.get(key).filter(|value| !value.is_null())
    }

    /// A field that is accepted and not used.
    pub(crate) fn accept(&mut self, key: &'static str) {
        self.known.insert(key);
    }

    /// A foreign object: what is not read of it is none of our business.
    pub(crate) fn accept_rest(&mut self) {
        self.is_foreign = true;
    }

    /// An object that may be left out; its fields then all have their defaults.
    pub(crate) fn object(&mut self, key: &'static str) -> Object<'a> {
        let value = self.get(key);
        Object::at(self.path_of(key), value, self.faults, self.environment)
    }

    /// An object that may be left out, and then means that there is no such thing.
    pub(crate) fn optional_object(&mut self, key: &'static str) -> Option<Object<'a>> {
        self.get(key)?;
        Some(self.object(key))
    }

    /// An object that must be there.
    pub(crate) fn required_object(&mut self, key: &'static str) -> Object<'a> {
        if self.get(key).is_none() {
            self.fault(key, "is required");
        }
        self.object(key)
    }

    pub(crate) fn required_objects(&mut self, key: &'static str) -> Vec<Object<'a>> {
        let Some(value) = self.get(key) else {
            self.fault(key, "is required");
            return Vec::new();
        };
        let Some(items) = value.as_array() else {
            self.fault(key, "must be a list of objects");
            return Vec::new();
        };
        if items.is_empty() {
            self.fault(key, "must name at least one");
        }
        let path = self.path_of(key);
        let at =
            |(index, item)| Object::at(format!("{path}[{index}]"), Some(item), self.faults, self.environment);
        items.iter().enumerate().map(at).collect()
    }

    pub(crate) fn string(&mut self, key: &'static str) -> Option<&'a str> {
        let string = self.lines(key)?;
        // It may end up in a header or a log line.
        if string.chars().any(char::is_control) {
            self.fault(key, "must not have control characters");
        }
        Some(string)
    }

    /// A string of any number of lines.
    pub(crate) fn lines(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.get(key)?;
        let string = value.as_str();
        if string.is_none() {
            self.fault(key, "must be a string");
        }
        string
    }

    /// A string that must be there and not be empty; "" after a fault.
    pub(crate) fn required_string(&mut self, key: &'static str) -> &'a str {
        match self.get(key) {
            None => {
                self.fault(key, "is required");
                ""
            }
            Some(_) => {
                let string = self.string(key);
                if string == Some("") {
                    self.fault(key, "must not be empty");
                }
                string.unwrap_or_default()
            }
        }
    }

    pub(crate) fn bool_or(&mut self, key: &'static str, default: bool) -> bool {
        match self.get(key) {
            None => default,
            Some(value) => value.as_bool().unwrap_or_else(|| {
                self.fault(key, "must be true or false");
                default
            }),
        }
    }

    /// A whole number within `range`. Istio hands numbers over as doubles, so `60.0` is 60.
    pub(crate) fn integer_or(
        &mut self,
        key: &'static str,
        default: u64,
        range: core::ops::RangeInclusive<u64>,
    ) -> u64 {
        let Some(value) = self.get(key) else { return default };
        match whole_number(value) {
            Some(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = (range.start(), range.end());
                self.fault(key, format!("must be a whole number from {low} to {high}"));
                default
            }
        }
    }

    /// One of a fixed set of words.
    pub(crate) fn word_or<T: Copy>(&mut self, key: &'static str, default: T, words: &[(&str, T)]) -> T {
        if self.get(key).is_none() {
            return default;
        }
        let Some(string) = self.string(key) else { return default };
        match words.iter().find(|(word, _)| *word == string) {
            Some((_, meaning)) => *meaning,
            None => {
                let names: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                self.fault(key, format!("must be one of {}", names.join(", ")));
                default
            }
        }
    }

    /// A list of non-empty strings; `None` when the field is absent.
    pub(crate) fn strings(&mut self, key: &'static str) -> Option<Vec<&'a str>> {
        let value = self.get(key)?;
        let strings = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().filter(|string| !string.is_empty())).collect()
        });
        if strings.is_none() {
            self.fault(key, "must be a list of non-empty strings");
        }
        strings
    }

    /// Whether a field of a foreign object is just this list. What else it may be is none of our business.
    pub(crate) fn is_list_of(&mut self, key: &'static str, words: &[&str]) -> bool {
        let items = self.get(key).and_then(Value::as_array);
        items.is_some_and(|items| items.iter().map(Value::as_str).eq(words.iter().copied().map(Some)))
    }

    /// A secret: a string, or `{"env": "NAME"}`. Missing or empty is a fault.
    pub(crate) fn required_secret(&mut self, key: &'static str) -> Secret<String> {
        match self.get(key) {
            Some(value) => self.secret_value(&self.path_of(key), value),
            None => {
                self.fault(key, "is required");
                Secret::default()
            }
        }
    }

    /// One secret or a list of them; empty when the field is absent.
    pub(crate) fn secrets(&mut self, key: &'static str) -> Vec<Secret<String>> {
        let path = self.path_of(key);
        match self.get(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.secret_value(&format!("{path}[{index}]"), item))
                .collect(),
            Some(value) => vec![self.secret_value(&path, value)],
        }
    }

    fn secret_value(&self, path: &str, value: &Value) -> Secret<String> {
        let secret = match value {
            Value::String(secret) => secret.clone(),
            Value::Object(fields) => match (fields.get("env").and_then(Value::as_str), fields.len()) {
                (Some(name), 1) => match (self.environment)(name).filter(|secret| !secret.is_empty()) {
                    Some(secret) => secret,
                    None => {
                        let what = format!("the environment variable {name} is missing or empty in the VM");
                        self.faults.add(path, what);
                        return Secret::default();
                    }
                },
                _ => {
                    self.faults.add(path, "must be a string or {\"env\": \"NAME\"}");
                    return Secret::default();
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                self.faults.add(path, "must be a string or {\"env\": \"NAME\"}");
                return Secret::default();
            }
        };
        if secret.is_empty() {
            self.faults.add(path, "must not be empty");
        }
        Secret::new(secret)
    }
}

/// The end of the object: every field that nobody asked for is a fault, however its reader ended.
impl Drop for Object<'_> {
    fn drop(&mut self) {
        let Some(fields) = self.fields.filter(|_| !self.is_foreign) else { return };
        for key in fields.keys().filter(|key| !self.known.contains(key.as_str())) {
            self.fault(key, "is not a known field");
        }
    }
}

fn whole_number(value: &Value) -> Option<u64> {
    let number = value.as_number()?;
    number.as_u64().or_else(|| {
        let float = number.as_f64()?;
        // 2^53: above it a double is not exact.
        let whole = float.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&float);
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked just above"
        )]
        whole.then_some(float as u64)
    })
}
