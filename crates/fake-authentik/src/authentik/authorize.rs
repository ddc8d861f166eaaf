//! The authorization endpoint: which client asks, where the browser may be sent back to, who is logged in and
//! whether the application lets him in. Errors go back to the client where its redirect URI is known.

use axum::response::Response;
use form_urlencoded::byte_serialize;

use super::World;
use super::answers::{html, redirect};
use super::directory::Provider;
use super::logins::{Code, Login};
use super::pages::{anonymous, denied, keep_session, login_url};
use super::request::Call;
use super::token::admits;

pub(super) fn answer(world: &mut World, call: &Call) -> Response {
    let Some(client_id) = call.parameter("client_id") else { return html(404) };
    let Some(provider) = world.provider_of(&client_id).cloned() else { return html(400) };
    let Some(redirect_uri) =
        call.parameter("redirect_uri").filter(|uri| provider.redirect_uris.contains(uri))
    else {
        return html(400);
    };
    let state = call.parameter("state").unwrap_or_default();
    if let Some((error, description)) = fault(call) {
        return redirect(&error_url(&redirect_uri, error, &description, &state));
    }
    let login = call.session().and_then(|cookie| world.logins.of(&cookie)).cloned();
    let Some(login) = login.filter(|login| world.user(&login.username).is_some_and(|user| user.active))
    else {
        return if call.parameter("prompt").as_deref() == Some("none") {
            let description = "The Authorization Server requires End-User authentication";
            redirect(&error_url(&redirect_uri, "login_required", description, &state))
        } else {
            anonymous(call, redirect(&login_url(world, call)))
        };
    };
    let user = world.user(&login.username).cloned().unwrap();
    if !admits(&provider, &user) {
        return denied(&user.username);
    }
    let code = world.logins.issue(code(call, &provider, redirect_uri.clone(), login));
    let mark = if redirect_uri.contains('?') { '&' } else { '?' };
    keep_session(call, redirect(&format!("{redirect_uri}{mark}code={code}&state={}", quoted(&state))))
}

fn code(call: &Call, provider: &Provider, redirect_uri: String, login: Login) -> Code {
    let scope = call.parameter("scope").unwrap_or_default();
    Code {
        slug: provider.slug,
        redirect_uri,
        // Unlike at the token endpoint, none means all.
        scope: if scope.is_empty() { provider.scopes.join(" ") } else { scope },
        nonce: call.parameter("nonce"),
        challenge: call.parameter("code_challenge"),
        login,
    }
}

fn fault(call: &Call) -> Option<(&'static str, String)> {
    if call.parameter("response_type").as_deref() != Some("code") {
        let description =
            "The authorization server does not support obtaining an authorization code using this method";
        return Some(("unsupported_response_type", description.to_owned()));
    }
    if call.parameter("request").is_some() {
        let description = "The provider does not support use of the request parameter";
        return Some(("request_not_supported", description.to_owned()));
    }
    // The real one knows `plain` as well.
    let method = call.parameter("code_challenge_method").unwrap_or_default();
    let is_known = call.parameter("code_challenge").is_none() || method == "S256";
    (!is_known).then(|| ("invalid_request", format!("Unsupported challenge method {method}")))
}

/// authentik puts a `?` before the error even where the redirect URI has one.
fn error_url(redirect_uri: &str, error: &str, description: &str, state: &str) -> String {
    let state = if state.is_empty() { String::new() } else { format!("&state={}", quoted(state)) };
    format!("{redirect_uri}?error={error}&error_description={}{state}", quoted(description))
}

/// As Python's `quote` writes it.
fn quoted(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
