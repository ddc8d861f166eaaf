//! The settings of `oidc_configuration`, a foreign object: as authentik's entry has it.

use super::kinds::{Anything, Rule, Text};
use super::list::settings;

settings! {
    /// The issuer that tokens must have, instead of the computed one.
    ISSUER: Text = Text::optional("issuer", Rule::Plain),
        change: "authentik names itself by another URL than `authentik.host` in its tokens.",
        example: "\"https://auth.example.com/application/o/wiki/\"";

    /// `["HS256"]` says that the provider has no signing key: no key set is fetched before the first token is verified. Every
    /// other value counts as absent.
    ID_TOKEN_SIGNING_ALG_VALUES_SUPPORTED: Anything = Anything { name: "id_token_signing_alg_values_supported" },
        example: "[\"HS256\"]";
}
