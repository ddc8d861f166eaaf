//! What a person sees of the stand-in: the login form, the log-out page and its link, a refusal. The real pages
//! are drawn by JavaScript; these have the same addresses and do the same to the session.

use axum::response::Response;
use form_urlencoded::byte_serialize;

use super::World;
use super::answers::{dressed, html, redirect, with};
use super::claims::identifier;
use super::logins::COOKIE;
use super::request::Call;

const LOGIN: &str = "/if/flow/default-authentication-flow/";
/// Leaves the application; the session goes on.
const LEAVE: &str = "/if/flow/default-provider-invalidation-flow/";
const LOG_OUT: &str = "/flows/-/default/invalidation/";
const LOGGED_OUT: &str = "/if/flow/default-invalidation-flow/";

/// `None`: it is no page.
pub(super) fn answer(world: &mut World, call: &Call, path: &str) -> Option<Response> {
    let reads = call.method == "GET";
    match (path, reads) {
        (LOGIN, true) => Some(login_form("")),
        (LOGIN, false) => Some(log_in(world, call)),
        (LEAVE, true) => Some(page(&format!(
            "<h1>You've logged out of the application.</h1>\n<a id=\"log-out\" href=\"{}{LOG_OUT}\">Log out of authentik</a>",
            world.path_prefix
        ))),
        (LOG_OUT, true) => Some(redirect(&format!("{}{LOGGED_OUT}", world.path_prefix))),
        (LOGGED_OUT, true) => Some(log_out(world, call)),
        _ => None,
    }
}

/// Where a browser without a session is sent, and from there back.
pub(super) fn login_url(world: &World, call: &Call) -> String {
    let next =
        if call.query.is_empty() { call.path.clone() } else { format!("{}?{}", call.path, call.query) };
    let separator = if call.query.is_empty() { "" } else { "&" };
    let next: String = byte_serialize(next.as_bytes()).collect();
    format!("{}{LOGIN}?{}{separator}next={next}", world.path_prefix, call.query)
}

/// The end-session endpoint of an application.
pub(super) fn end_session(world: &World, call: &Call) -> Response {
    if call.session().is_none_or(|cookie| world.logins.of(&cookie).is_none()) {
        return anonymous(call, redirect(&login_url(world, call)));
    }
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    keep_session(call, redirect(&format!("{}{LEAVE}{query}", world.path_prefix)))
}

/// A user whom the application's policies do not let in.
pub(super) fn denied(username: &str) -> Response {
    page(&format!("<h1>Permission denied</h1>\n<p>{username}: Request has been denied.</p>"))
}

/// The answer, with a session of nobody.
pub(super) fn anonymous(call: &Call, answer: Response) -> Response {
    with_session(call, answer, &identifier())
}

/// The answer, with the browser's own session once more.
pub(super) fn keep_session(call: &Call, answer: Response) -> Response {
    match call.session() {
        Some(cookie) => with_session(call, answer, &cookie),
        None => answer,
    }
}

fn with_session(call: &Call, answer: Response, cookie: &str) -> Response {
    let is_secure = call.base(true).starts_with("https:");
    let rest = if is_secure { "SameSite=None; Secure" } else { "SameSite=Lax" };
    with(answer, "set-cookie", &format!("{COOKIE}={cookie}; HttpOnly; Path=/; {rest}"))
}

fn log_in(world: &mut World, call: &Call) -> Response {
    let field = |name| call.field(name).unwrap_or_default();
    let user = world.user(field("username"));
    let Some(user) = user.filter(|user| user.active && user.password == field("password")) else {
        return login_form("<p>Invalid password</p>");
    };
    let username = user.username.clone();
    let next = call.parameter("next").filter(|next| next.starts_with('/') && !next.starts_with("//"));
    let Some(next) = next else { return html(400) };
    let cookie = world.logins.begin(&username);
    with_session(call, redirect(&next), &cookie)
}

fn log_out(world: &mut World, call: &Call) -> Response {
    let login = call.session().and_then(|cookie| world.logins.of(&cookie).cloned());
    if let Some(login) = login {
        world.sign_out(&login.sid);
    }
    let gone = "expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax";
    with(page("<h1>You've logged out.</h1>"), "set-cookie", &format!("{COOKIE}=\"\"; {gone}"))
}

/// It is posted to its own address, which has `next`.
fn login_form(message: &str) -> Response {
    page(&format!(
        "<h1>Welcome to authentik!</h1>\n{message}\n<form method=\"post\">\n\
         <input name=\"username\" autocomplete=\"username\">\n\
         <input name=\"password\" type=\"password\" autocomplete=\"current-password\">\n\
         <button>Log in</button>\n</form>"
    ))
}

fn page(body: &str) -> Response {
    let head = "<head><meta charset=\"utf-8\"><title>authentik</title></head>";
    let page = format!("<!DOCTYPE html>\n<html lang=\"en\">\n{head}\n<body>\n{body}\n</body>\n</html>\n");
    dressed(200, "text/html; charset=utf-8", page)
}
