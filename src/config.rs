//! The configuration: raw JSON in, a compiled [`Config`] out, or every fault at once.
//!
//! Owns: all settings (their names, kinds, ranges and defaults are in [`table`]), and what makes a combination of them
//! wrong. Nothing after this file looks at raw configuration again.
//! Must not: do I/O (the environment is a look-up that is handed in), answer a fault with a default.

mod digest;
mod entries;
mod faults;
mod json;
mod meta;
mod provider;
mod read;
mod seal;
mod settings;
mod shadow;
pub mod table;

pub use self::entries::{Entries, Entry, LeftOut};
use self::faults::Faults;
pub use self::json::Environment;
use self::json::Object;
pub use self::meta::MetaHeaders;
pub use self::seal::Seal;
pub use self::settings::{
    Authentik, BasicAuth, BearerVerification, BeyondApi, Cache, Config, Events, Jwks, Mode, Outpost, Place,
    Provider, ProviderId, Session, SessionIssue, Shadow, Throttle,
};

impl Config {
    /// Compiles a configuration as Envoy hands it over.
    ///
    /// # Errors
    /// Every fault, each with the path of its field. None of them shows a value.
    pub fn parse(raw: &[u8], environment: Environment<'_>) -> Result<Self, Vec<String>> {
        let value = read::json(raw).map_err(|fault| vec![fault])?;
        let faults = Faults::default();
        let config = read::config(raw, Object::root(&value, &faults, environment));
        match (config, faults.into_list()) {
            (Some(config), faults) if faults.is_empty() => {
                Ok(Self { public_digest: digest::public(&value), ..config })
            }
            (_, faults) => Err(faults),
        }
    }
}

#[cfg(test)]
mod tests;
