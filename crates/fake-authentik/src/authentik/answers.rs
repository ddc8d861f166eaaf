//! The forms that authentik's answers take: JSON, JSON that must not be stored, refusals of the token
//! endpoint, HTML pages, and the bare 405 that a server error on a POST becomes. Every answer carries the
//! headers that authentik puts on all of them.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::claims::{ascii, identifier};

pub(crate) fn json_answer(status: u16, body: &Value) -> Response {
    dressed(status, "application/json", ascii(body))
}

/// As the token and introspection endpoints answer.
pub(crate) fn unstored(status: u16, body: &Value) -> Response {
    with(with(json_answer(status, body), "cache-control", "no-store"), "pragma", "no-cache")
}

/// A refusal of the token endpoint.
pub(crate) fn refusal(error: &str) -> Response {
    let description = match error {
        "invalid_client" => {
            "Client authentication failed (e.g., unknown client, no client authentication included, or \
             unsupported authentication method)"
        }
        "invalid_grant" => {
            "The provided authorization grant or refresh token is invalid, expired, revoked, does not match \
             the redirection URI used in the authorization request, or was issued to another client"
        }
        "unsupported_grant_type" => {
            "The authorization grant type is not supported by the authorization server"
        }
        other => panic!("authentik has no refusal {other}"),
    };
    let id = request_id();
    let body = json!({"error": error, "error_description": description, "request_id": id});
    with(unstored(400, &body), "x-authentik-id", &id)
}

pub(crate) fn html(status: u16) -> Response {
    let title = StatusCode::from_u16(status).unwrap().canonical_reason().unwrap_or("Error");
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>authentik</title></head>\n<body><h1>{title}</h1></body>\n</html>\n"
    );
    dressed(status, "text/html; charset=utf-8", page)
}

/// What any server error on a POST reaches the client as.
pub(crate) fn server_error_on_post() -> Response {
    method_not_allowed("GET, HEAD, OPTIONS")
}

pub(crate) fn method_not_allowed(allowed: &str) -> Response {
    with(dressed(405, "text/html; charset=utf-8", String::new()), "allow", allowed)
}

pub(crate) fn redirect(location: &str) -> Response {
    with(dressed(302, "text/html; charset=utf-8", String::new()), "location", location)
}

pub(crate) fn dressed(status: u16, content_type: &str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in [
        ("server", "uvicorn"),
        ("content-type", content_type),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("x-authentik-id", &request_id()),
        ("vary", "Accept-Language, Cookie"),
        ("content-language", "en"),
    ] {
        response = with(response, name, value);
    }
    response
}

/// The response with this header, in place of any other of the name.
pub(crate) fn with(mut response: Response, name: &str, value: &str) -> Response {
    let name: HeaderName = name.parse().unwrap();
    response.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    response
}

fn request_id() -> String {
    let mut id = identifier();
    id.truncate(32);
    id
}
