//! The setting `seal`: a header with a secret value by which a policy behind the filter knows that the filter judged the
//! request. Without the filter no request has it, and the policy refuses them all.
//!
//! Owns: the names and values that are allowed.
//! Must not: show a value, or know where the seal is written ([`crate::authn::edits::Forward`] does).

use super::json::Object;
use crate::base::header::{self, HeaderValue};
use crate::base::secret::Secret;
use crate::base::token::Token;

/// The header's name where the configuration has none.
const DEFAULT_HEADER: &str = "x-authentik-seal";
/// The least length of a value, in bytes: nobody may guess it.
const MIN_VALUE_BYTES: usize = 16;
/// Most values: two are enough for a rotation.
const MAX_VALUES: usize = 4;

/// The header that every request carries which the filter lets go on.
#[derive(Debug)]
pub struct Seal {
    /// Its name: lower case letters, digits and `-`. An owned name, so clients cannot send it.
    pub header: String,
    /// The value that is sent: the first of the configuration.
    pub value: HeaderValue,
    /// The further values. The filter never sends them; during a rotation the policy behind accepts them.
    pub retired: Vec<Secret<String>>,
}

impl Seal {
    /// Reads the setting. `None` only where a fault was found.
    pub(crate) fn read(mut object: Object<'_>) -> Option<Self> {
        let header = read_header(&mut object);
        let mut values = read_values(&mut object).into_iter();
        let value = values.next()?;
        Some(Self {
            header: header?,
            // One copy, which is wiped when the last configuration with it is gone.
            value: HeaderValue::token(&Token::new(value.expose().clone())),
            retired: values.collect(),
        })
    }

    /// All values, for what depends on them.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        let retired = self.retired.iter().map(|value| value.expose().as_bytes());
        core::iter::once(self.value.as_bytes()).chain(retired)
    }
}

fn read_header(object: &mut Object<'_>) -> Option<String> {
    let key = "header";
    let name = object.lines(key).unwrap_or(DEFAULT_HEADER);
    match header::check_seal_name(name) {
        Ok(()) => Some(name.to_ascii_lowercase()),
        Err(what) => {
            object.fault(key, what);
            None
        }
    }
}

fn read_values(object: &mut Object<'_>) -> Vec<Secret<String>> {
    let key = "values";
    let values = object.secrets(key);
    if !(1..=MAX_VALUES).contains(&values.len()) {
        object.fault(key, format!("must be 1 to {MAX_VALUES} values"));
    }
    // An empty one was complained about already.
    for (index, value) in values.iter().enumerate().filter(|(_, value)| !value.expose().is_empty()) {
        let at = format!("{key}[{index}]");
        if !value.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            object.fault(&at, "must consist of visible ASCII characters");
        } else if value.expose().len() < MIN_VALUE_BYTES {
            object.fault(&at, format!("must have at least {MIN_VALUE_BYTES} bytes"));
        }
    }
    values
}
