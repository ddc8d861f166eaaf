//! The root context: Envoy's callbacks for one worker and one configuration.
//!
//! Owns: configuring, and reading the answers to calls. Must not: judge a request or an answer.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::host;
use super::http::HttpFilter;
#[cfg(feature = "test-panic")]
use super::paused;
use super::worker::Worker;
use crate::authn::Authenticator;
use crate::authn::authentik;
use crate::authn::authentik::call::{Answer, Endpoint};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::config::Config;

/// The SDK's root context.
pub(crate) struct Root {
    worker: Rc<Worker>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        Self { worker: Rc::new(Worker::new(id)) }
    }
}

impl Context for Root {
    fn on_http_call_response(
        &mut self,
        token: u32,
        num_headers: usize,
        body_size: usize,
        _num_trailers: usize,
    ) {
        self.worker.answered(token, |endpoint, limit| read_answer(endpoint, num_headers, body_size, limit));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let config = match Config::parse(&host::plugin_configuration(size), &host::environment) {
            Ok(config) => config,
            Err(faults) => {
                for fault in faults {
                    log::error!("configuration: {fault}");
                }
                return false;
            }
        };
        for warning in &config.warnings {
            log::warn!("configuration: {warning}");
        }
        let mut names: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
        if config.outpost.is_some() {
            names.push("the providers of the outpost");
        }
        let what = format!("protecting with authentik at {}: {}", config.authentik.base, names.join(", "));
        log::info!("version={} digest={} message={what:?}", env!("CARGO_PKG_VERSION"), config.public_digest);
        let core = Authenticator::new(config);
        let is_ready = core.is_some();
        self.worker.configure(core);
        is_ready
    }

    fn on_tick(&mut self) {
        self.worker.tick();
    }

    /// Called by [`host::as_root`] only: the filter has no queue.
    fn on_queue_ready(&mut self, _queue_id: u32) {
        self.worker.send();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(HttpFilter::new(id, Rc::clone(&self.worker))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn read_answer(endpoint: Endpoint, num_headers: usize, body_size: usize, limit: usize) -> Answer {
    // Without headers the maps are absent: the connection broke, or the body was beyond what Envoy buffers.
    if num_headers == 0 {
        return Answer::Reset;
    }
    if body_size > limit {
        return Answer::TooLarge;
    }
    let number =
        |name| core::str::from_utf8(&host::call_response_header(name)?).ok()?.trim().parse::<u64>().ok();
    let Some(status) = number(":status").and_then(|status| u16::try_from(status).ok()) else {
        return Answer::Reset;
    };
    #[cfg(feature = "test-panic")]
    paused::trigger::answer(status);
    let body = if body_size == 0 { Some(Secret::default()) } else { host::call_response_body(body_size) };
    match body {
        Some(body) if is_made_by_envoy(status) => authentik::unreachable(status, body.expose()),
        Some(body) => {
            let date = || Timestamp::from_http_date(&host::call_response_header("date")?);
            let date = if endpoint == Endpoint::Discovery { date() } else { None };
            Answer::Response { status, retry_after: number("retry-after"), date, body }
        }
        None => Answer::Reset,
    }
}

/// Envoy answers in place of a cluster that it does not reach, in plain text, and without the header that it adds to every
/// response of a cluster.
fn is_made_by_envoy(status: u16) -> bool {
    let content_type = || host::call_response_header("content-type").unwrap_or_default();
    matches!(status, 502..=504)
        && host::call_response_header("x-envoy-upstream-service-time").is_none()
        && content_type().starts_with(b"text/plain")
}
