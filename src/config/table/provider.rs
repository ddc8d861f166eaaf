//! The settings of an entry of `providers` that authentik's API has too, under these names, so that an entry of
//! `GET /api/v3/outposts/proxy/` is a provider as it is. The others are in [`super::beyond_api`].

use super::kinds::{
    Boolean, Integer, Need, OneSecret, Rule, Secrets, Section, Text, Texts, Unused, Words, YEAR, words,
};
use super::list::settings;
use crate::config::settings::Mode;

settings! {
    /// The slug of the application in authentik.
    ASSIGNED_APPLICATION_SLUG: Text = Text::required("assigned_application_slug", Rule::Slug),
        example: "\"wiki\"";

    /// The OAuth 2.0 client identifier of the provider.
    CLIENT_ID: Text = Text::required("client_id", Rule::Plain),
        example: "\"b3f0a1c2\"";

    /// The OAuth 2.0 client secret of the provider: a string, or the name of a variable of the VM's environment.
    CLIENT_SECRET: OneSecret = OneSecret { name: "client_secret", rule: Rule::Lines, need: Need::Always },
        example: "{\"env\": \"WIKI_CLIENT_SECRET\"}";

    /// The secret that encrypts session cookies, or a list of them: the first seals, all open.
    COOKIE_SECRET: Secrets = Secrets {
        name: "cookie_secret", rule: Rule::Lines, need: Need::WithSessions, least_bytes: 32, most: usize::MAX,
    },
        change: "To rotate it: put the new secret first and keep the old one until its sessions have ended.",
        example: "[{\"env\": \"WIKI_COOKIE_SECRET\"}]";

    /// The application's URL as browsers see it.
    EXTERNAL_HOST: Text = Text::required("external_host", Rule::Url),
        example: "\"https://wiki.example.com\"";

    /// The name of the provider: the value of `x-authentik-meta-provider`, and what the log calls it. The slug by default.
    NAME: Text = Text::optional("name", Rule::Plain),
        example: "\"Wiki\"";

    /// authentik's mode of the provider. `proxy` also sets `x-forwarded-host`; `forward_domain` answers for every host below
    /// `cookie_domain`.
    MODE: Words<Mode> = words!("mode", [
        "proxy" => Mode::Proxy,
        "forward_single" => Mode::ForwardSingle,
        "forward_domain" => Mode::ForwardDomain,
    ], Mode::ForwardSingle),
        change: "The provider has another mode in authentik.",
        example: "\"forward_domain\"";

    /// The domain of the cookies: that of `external_host`, or one above it. In `forward_domain` every host below it is this
    /// provider's.
    COOKIE_DOMAIN: Text = Text {
        name: "cookie_domain", rule: Rule::Domain, need: Need::InDomainMode, default: Some(""),
    },
        change: "One login must count for several hosts.",
        example: "\"example.com\"";

    /// authentik's "Intercept header authentication". On, the filter judges `Authorization` and a wrong credential gets `401`.
    /// Off, a wrong credential counts as none.
    INTERCEPT_HEADER_AUTH: Boolean = Boolean::new("intercept_header_auth", true),
        change: "The application has credentials of its own in `Authorization`.";

    /// authentik's "Send HTTP-Basic Authentication": the application gets `Authorization: Basic` from user attributes.
    BASIC_AUTH_ENABLED: Boolean = Boolean::new("basic_auth_enabled", false),
        change: "The application knows HTTP Basic only.";

    /// The user attribute with the user name. The e-mail address by default.
    BASIC_AUTH_USER_ATTRIBUTE: Text = Text::or("basic_auth_user_attribute", Rule::Plain, ""),
        example: "\"wiki_user\"";

    /// The user attribute with the password. The empty password by default.
    BASIC_AUTH_PASSWORD_ATTRIBUTE: Text = Text::or("basic_auth_password_attribute", Rule::Plain, ""),
        example: "\"wiki_password\"";

    /// Paths that need no authentication: one regular expression a line, searched in the path as sent, never in the query. In
    /// `forward_domain` it is searched in `scheme://host/path`. The syntax is that of regex-lite.
    SKIP_PATH_REGEX: Text = Text::or("skip_path_regex", Rule::Lines, ""),
        change: "Health checks or public files must be open. Begin a pattern with `^`.",
        example: "\"^/health$\\n^/public/\"";

    /// The scopes that every exchange and login asks for.
    SCOPES_TO_REQUEST: Texts = Texts {
        name: "scopes_to_request", rule: Rule::NotEmpty,
        default: Some(&["openid", "profile", "email", "entitlements", "ak_proxy"]),
    },
        change: "The provider has other scope mappings in authentik.",
        example: "[\"openid\", \"profile\", \"email\", \"ak_proxy\", \"tenant\"]";

    /// The longest life of a session, in seconds. `session.max_age_seconds` bounds it too.
    ACCESS_TOKEN_VALIDITY: Integer = Integer::new("access_token_validity", 1..=YEAR, 86_400),
        change: "The provider has another validity in authentik.",
        example: "28800";

    /// authentik's issuer mode of the provider.
    HAS_GLOBAL_ISSUER: Words<bool> =
        words!("issuer_mode", ["per_provider" => false, "global" => true], false),
        change: "The provider has the issuer mode \"Same identifier is used for all providers\".",
        example: "\"global\"";

    /// The part of authentik's entry about OpenID Connect. Its other fields are accepted and not used.
    OIDC_CONFIGURATION: Section = Section::foreign("oidc_configuration"), fields: [super::oidc::ROWS];

    /// A field of authentik's entry.
    PK: Unused = Unused { name: "pk" };

    /// A field of authentik's entry.
    INTERNAL_HOST: Unused = Unused { name: "internal_host" };

    /// A field of authentik's entry.
    INTERNAL_HOST_SSL_VALIDATION: Unused = Unused { name: "internal_host_ssl_validation" };

    /// A field of authentik's entry.
    CERTIFICATE: Unused = Unused { name: "certificate" };

    /// A field of authentik's entry.
    ASSIGNED_APPLICATION_NAME: Unused = Unused { name: "assigned_application_name" };
}
