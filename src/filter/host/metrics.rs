//! Metrics: counters, gauges and histograms of Envoy.
//!
//! Owns: the host calls for them. Best effort: a metric that cannot be had changes nothing of a request.
//! Must not: name a metric.

use super::abi::{check, proxy_define_metric, proxy_increment_metric, proxy_record_metric};

/// What a metric is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// A metric of this VM. The same name stands for one and the same metric in all VMs of an Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Metric(u32);

/// Defines a metric, or finds it. `None`: Envoy refused.
pub(crate) fn define(kind: Kind, name: &str) -> Option<Metric> {
    #[expect(clippy::as_conversions, reason = "the ABI's number of an enum without values")]
    let kind = kind as u32;
    let mut id = 0;
    // SAFETY: the name and the out pointer live through the call.
    let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
    if let Err(error) = check(status) {
        log::debug!("metric {name} was not defined: {error}");
        return None;
    }
    Some(Metric(id))
}

/// Adds to a counter or a gauge.
pub(crate) fn add(Metric(id): Metric, amount: i64) {
    // SAFETY: plain numbers.
    let _ = unsafe { proxy_increment_metric(id, amount) };
}

/// Sets a gauge, or records a value of a histogram.
pub(crate) fn record(Metric(id): Metric, value: u64) {
    // SAFETY: plain numbers.
    let _ = unsafe { proxy_record_metric(id, value) };
}
