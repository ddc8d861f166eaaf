//! The setting `seal`: a header with a secret value by which a policy behind the filter knows that the filter judged the
//! request. Without the filter no request has it, and the policy refuses them all.
//!
//! Owns: what makes a name or a value wrong beyond its kind.
//! Must not: show a value, or know where the seal is written ([`crate::authn::edits::Forward`] does).

use super::json::Object;
use super::table::kinds::Secrets;
use super::table::seal as table;
use crate::base::header::{self, HeaderValue};
use crate::base::secret::Secret;
use crate::base::token::Token;

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
        let mut values = read_values(&mut object);
        let (header, first) = header.zip(values.first())?;
        // One copy, which is wiped when the last configuration with it is gone.
        let value = HeaderValue::token(&Token::new(first.expose().clone()));
        values.remove(0);
        Some(Self { header, value, retired: values })
    }

    /// All values, for what depends on them.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        let retired = self.retired.iter().map(|value| value.expose().as_bytes());
        core::iter::once(self.value.as_bytes()).chain(retired)
    }
}

fn read_header(object: &mut Object<'_>) -> Option<String> {
    let name = object.text(&table::HEADER);
    match header::check_seal_name(name) {
        Ok(()) => Some(name.to_ascii_lowercase()),
        Err(what) => {
            object.fault(table::HEADER.name, what);
            None
        }
    }
}

fn read_values(object: &mut Object<'_>) -> Vec<Secret<String>> {
    let Secrets { name, least_bytes, most, .. } = table::VALUES;
    let values = object.secrets(&table::VALUES);
    if !(1..=most).contains(&values.len()) {
        object.fault(name, &format!("must be 1 to {most} values"));
    }
    // An empty one was complained about already.
    for (index, value) in values.iter().enumerate().filter(|(_, value)| !value.expose().is_empty()) {
        if !value.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            object.fault_at(name, index, "must consist of visible ASCII characters");
        } else if value.expose().len() < least_bytes {
            object.fault_at(name, index, &format!("must have at least {least_bytes} bytes"));
        }
    }
    values
}
