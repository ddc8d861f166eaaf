//! All host calls (Proxy-Wasm ABI 0.2.1), on bytes, as `Result`.
//!
//! Owns: the raw host calls. The SDK's own wrappers panic on a header byte of 0x80 or above, on an absent header map
//! and on unknown status codes; a panic takes the worker. Only what the SDK must know of goes through it: calls to
//! authentik (it routes their answers) and the log.
//! Must not: decide anything.

#![expect(unsafe_code, reason = "the one file, with `abi` below it, that speaks the host's ABI")]

mod abi;
pub(super) mod envoy;
pub(super) mod metrics;

use core::ptr::null_mut;
use core::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, Status as SdkStatus};

use self::abi::{
    HostError, NOT_FOUND, check, proxy_add_header_map_value, proxy_continue_stream,
    proxy_get_current_time_nanoseconds, proxy_get_header_map_pairs, proxy_get_header_map_value,
    proxy_remove_header_map_value, proxy_replace_header_map_value, proxy_send_local_response,
    proxy_set_effective_context, proxy_set_property, take,
};
use crate::authn::authentik::call::{Call, NotSent};
use crate::authn::edits::Forward;
use crate::authn::identity::Identity;
use crate::authn::reply::{Reply, shared_caches};
use crate::authn::request::view::HeaderBlock;
use crate::base::header::HeaderValue;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;

/// Filter state with the user name, read back as `wasm.authentik_username`.
const USERNAME_PROPERTY: &str = "authentik_username";
/// Filter state with `ak_proxy.backend_override`, read back as `wasm.authentik_backend_override`.
const BACKEND_PROPERTY: &str = "authentik_backend_override";

const REQUEST_HEADERS: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;
const RESPONSE_HEADERS: u32 = 2;
const CALL_RESPONSE_HEADERS: u32 = 6;
const REQUEST_STREAM: u32 = 0;
/// The host derives the gRPC status itself, or there is none.
const NO_GRPC_STATUS: i32 = -1;

// The SDK's own export. See `as_root`.
unsafe extern "C" {
    fn proxy_on_queue_ready(context: u32, queue: u32);
}

/// Runs [`proxy_wasm::traits::RootContext::on_queue_ready`] of this root now, so that the SDK takes a call that is sent
/// there for the root's. Sent in a stream's callback, the call would be the stream's, and its answer would be dropped
/// when that client leaves.
pub(crate) fn as_root(root_id: u32) {
    // SAFETY: the function is the SDK's, takes plain numbers and borrows only the table of root contexts, which no
    // HTTP callback holds.
    unsafe { proxy_on_queue_ready(root_id, 0) }
}

/// The request's headers, as they are on the wire.
pub(crate) fn request_headers() -> Result<HeaderBlock, HostError> {
    header_map(REQUEST_HEADERS)
}

/// The request's trailers.
pub(crate) fn request_trailers() -> Result<HeaderBlock, HostError> {
    header_map(REQUEST_TRAILERS)
}

/// Takes trailers away.
pub(crate) fn remove_trailers(names: &[Vec<u8>]) -> Result<(), HostError> {
    names.iter().try_for_each(|name| remove(REQUEST_TRAILERS, name))
}

fn header_map(map: u32) -> Result<HeaderBlock, HostError> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: both pointers are to locals that live through the call.
    check(unsafe { proxy_get_header_map_pairs(map, &raw mut data, &raw mut size) })?;
    Ok(HeaderBlock::new(take(data, size)))
}

/// Adds `Set-Cookie` lines to the response, unless shared caches may keep it. A client that gets none authenticates
/// with its next request again.
pub(crate) fn add_cookies(set_cookies: &[HeaderValue], has_authorization: bool) {
    // Without an answer it is not read at all, as it costs ten times as much; with one, all fields count.
    let names = ["cache-control", "cdn-cache-control", "surrogate-control"];
    let is_absent = |name: &&str| matches!(header(RESPONSE_HEADERS, name), Ok(None));
    let may_be_shared = if names.iter().all(is_absent) {
        !has_authorization
    } else {
        header_map(RESPONSE_HEADERS)
            .map_or(true, |headers| shared_caches::may_be_shared(&headers, has_authorization))
    };
    if may_be_shared {
        return;
    }
    for value in set_cookies {
        if let Err(error) = write(proxy_add_header_map_value, RESPONSE_HEADERS, "set-cookie", value) {
            log::warn!("a session cookie was not set: {error}");
        }
    }
}

/// One header of authentik's answer.
pub(crate) fn call_response_header(name: &str) -> Option<Vec<u8>> {
    header(CALL_RESPONSE_HEADERS, name).ok()?
}

/// The first header of this name.
fn header(map: u32, name: &str) -> Result<Option<Vec<u8>>, HostError> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: the name and both out pointers live through the call.
    let status =
        unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), &raw mut data, &raw mut size) };
    match status {
        NOT_FOUND => Ok(None),
        _ => check(status).map(|()| Some(take(data, size))),
    }
}

/// The body of authentik's answer.
pub(crate) fn call_response_body(size: usize) -> Option<Secret<Vec<u8>>> {
    // The SDK's `get_buffer` is total for an offset of 0.
    hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).ok()?.map(Secret::new)
}

/// The request's body as far as Envoy has it, where a callback for the body holds it back. `None`: Envoy does not hand it over.
pub(crate) fn request_body(size: usize) -> Option<Secret<Vec<u8>>> {
    // The SDK's `get_buffer` is total for an offset of 0.
    hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size).ok()?.map(Secret::new)
}

/// The plugin configuration.
pub(crate) fn plugin_configuration(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size).ok().flatten().unwrap_or_default()
}

/// A variable of the VM's environment.
#[expect(clippy::disallowed_methods, reason = "the environment's one reader")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The host's wall clock. An error instead of a moment in 1970: `exp` is judged by it.
pub(crate) fn now() -> Result<Timestamp, HostError> {
    match milliseconds()? {
        0..1_000 => Err(HostError(NOT_FOUND)),
        milliseconds => Ok(Timestamp::from_millis(milliseconds)),
    }
}

/// The same in milliseconds since 1970.
pub(crate) fn milliseconds() -> Result<u64, HostError> {
    let mut nanoseconds = 0_u64;
    // SAFETY: the pointer is to a local that lives through the call.
    check(unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) })?;
    Ok(nanoseconds / 1_000_000)
}

/// Makes `context` the one that header and stream calls are about. An error when it is gone.
pub(crate) fn set_effective_context(context: u32) -> Result<(), HostError> {
    // SAFETY: a plain number.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Lets a paused request go on.
pub(crate) fn resume_request() -> Result<(), HostError> {
    // SAFETY: a plain number.
    check(unsafe { proxy_continue_stream(REQUEST_STREAM) })
}

/// Changes the request as decided. After an error the request must not go on: it may be half changed.
pub(crate) fn edit_request(forward: &Forward) -> Result<(), HostError> {
    for name in &forward.remove {
        remove(REQUEST_HEADERS, name)?;
    }
    for (name, value) in &forward.replace {
        write(proxy_replace_header_map_value, REQUEST_HEADERS, name, value)?;
    }
    if let Some(identity) = &forward.identity {
        write_identity(identity)?;
    }
    // Last: nothing is written over it.
    match forward.seal() {
        Some((name, value)) => write(proxy_replace_header_map_value, REQUEST_HEADERS, name, value),
        None => Ok(()),
    }
}

fn write_identity(identity: &Identity) -> Result<(), HostError> {
    for (name, value) in identity.overriding_headers() {
        write(proxy_replace_header_map_value, REQUEST_HEADERS, name, value)?;
    }
    for (name, value) in identity.identity_headers() {
        write(proxy_add_header_map_value, REQUEST_HEADERS, name, value)?;
    }
    set_property(USERNAME_PROPERTY, identity.username());
    if let Some(backend) = identity.backend_override() {
        set_property(BACKEND_PROPERTY, backend);
    }
    Ok(())
}

fn remove(map: u32, name: &[u8]) -> Result<(), HostError> {
    // SAFETY: the name lives through the call.
    check(unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) })
}

type WriteHeader = unsafe extern "C" fn(u32, *const u8, usize, *const u8, usize) -> u32;

fn write(call: WriteHeader, map: u32, name: &str, value: &HeaderValue) -> Result<(), HostError> {
    let value = value.as_bytes();
    // SAFETY: name and value live through the call; both functions of this type only read them.
    check(unsafe { call(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// For access logs and RBAC. Not being able to say who it was is no reason to turn a user away.
pub(crate) fn set_property(path: &str, value: &str) {
    // SAFETY: path and value live through the call.
    let status = unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
    if let Err(error) = check(status) {
        log::debug!("filter state {path} was not set: {error}");
    }
}

/// `%RESPONSE_CODE_DETAILS%`, once there is a response.
pub(crate) fn response_code_details() -> Option<Vec<u8>> {
    hostcalls::get_property(vec!["response", "code_details"]).ok()?
}

/// Answers the request.
pub(crate) fn reply(reply: &Reply) -> Result<(), HostError> {
    let headers = serialise(&reply.headers);
    let details = reply.report.reason.details();
    let grpc_status =
        reply.grpc_status.map_or(NO_GRPC_STATUS, |code| i32::try_from(code).unwrap_or(NO_GRPC_STATUS));
    // SAFETY: all parts live through the call.
    check(unsafe {
        proxy_send_local_response(
            u32::from(reply.status),
            details.as_ptr(),
            details.len(),
            reply.body.as_ptr(),
            reply.body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

fn serialise(headers: &[(&'static str, HeaderValue)]) -> Vec<u8> {
    let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    HeaderBlock::from_pairs(pairs).into_bytes()
}

/// Sends a call to authentik; its answer comes to `on_http_call_response` of the root context.
pub(crate) fn dispatch(call: &Call) -> Result<u32, NotSent> {
    // The SDK takes text, and the core writes nothing else into a call.
    let pairs = call.headers.iter().map(|(name, value)| Ok((*name, core::str::from_utf8(value.as_bytes())?)));
    let headers = pairs.collect::<Result<_, core::str::Utf8Error>>().map_err(|_| NotSent::Unencodable)?;
    let body = Some(call.body.expose().as_slice()).filter(|body| !body.is_empty());
    hostcalls::dispatch_http_call(&call.cluster, headers, body, Vec::new(), call.timeout).map_err(|status| {
        if status == SdkStatus::BadArgument { NotSent::UnknownCluster } else { NotSent::NoCapacity }
    })
}

/// Asks for `on_tick` at this interval.
pub(crate) fn tick_every(period: Duration) {
    if let Err(status) = hostcalls::set_tick_period(period) {
        log::warn!("no timer: {status:?}; keys are fetched on demand only");
    }
}
