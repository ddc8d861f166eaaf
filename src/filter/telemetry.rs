//! What an operator sees of one worker: metrics, and the filter state that access logs show.
//!
//! Owns: their names. The stat's name carries the labels in Istio's form, `label=.=value;.;`; `stats_tags` of Envoy's bootstrap
//! make Prometheus labels of it (envoy.yaml has them). Must not: decide anything, or name what a client sent.

mod names;

use core::cell::{Cell, RefCell};
use std::collections::HashMap;

use self::names::{Label, MAX_LABELS, Names};
use super::host;
use super::host::metrics::{self, Kind, Metric};
use crate::authn::authentik::call::{CallResult, Endpoint};
use crate::authn::ended::tally::{Cause, Confirmation};
use crate::authn::reply::log_line::LogLine;
use crate::authn::report::{Load, Reason, Report};
use crate::authn::shadow::{Comparison, Finding, ShadowLine};
use crate::authn::verdict::Source;
use crate::config::{Config, ProviderId};

/// A cause is warned of once in this time, in milliseconds.
const WARNING_INTERVAL: u64 = 60_000;
/// Most causes that are warned of in that time: they are few, but for what Envoy says of a connection.
const MAX_CAUSES: usize = 64;

/// Filter state; access logs read `wasm.authentik_reason` and so on.
const REASON_PROPERTY: &str = "authentik_reason";
const SOURCE_PROPERTY: &str = "authentik_source";
const PROVIDER_PROPERTY: &str = "authentik_provider";
const SHADOW_PROPERTY: &str = "authentik_shadow";

/// Most lines about comparisons in a minute.
const MAX_COMPARISONS: u32 = 10;

/// What is counted of a request.
type Decided = (Option<ProviderId>, Reason, Source);

/// A metric with its labels.
#[derive(PartialEq, Eq, Hash)]
enum Series {
    Requests(Option<Label>, Reason, Source),
    Calls(Endpoint, CallResult),
    Durations(Endpoint),
    KeysAge(Label),
    ConfigAge,
    EventsAge,
    EndedSessions(Cause),
    Confirmations(Confirmation),
    Shadow(Option<Label>, Finding),
}

/// The metrics of one worker under one configuration.
pub(crate) struct Telemetry {
    names: RefCell<Names>,
    /// The last that was counted: mostly the next is one of it too.
    last: Cell<Option<(Decided, Metric)>>,
    /// Each is defined when it is first wanted.
    series: RefCell<HashMap<Series, Option<Metric>>>,
    waiting_requests: Gauge,
    pending_calls: Gauge,
    call_limit: Gauge,
    cache_entries: Gauge,
    config_info: Gauge,
    /// When the log last warned of a cause, in milliseconds since 1970.
    warned: RefCell<Vec<(String, u64)>>,
    /// The minute in which comparisons were last logged, since 1970, and how many.
    compared: Cell<(u64, u32)>,
    /// The counts of ended and of confirmed sessions that were told.
    told: Cell<([u64; Cause::ALL.len()], [u64; Confirmation::ALL.len()])>,
    is_shadow: bool,
}

impl Telemetry {
    pub(super) fn new(config: &Config) -> Self {
        let info = labels([("version", env!("CARGO_PKG_VERSION")), ("digest", &config.public_digest)]);
        Self {
            names: RefCell::default(),
            last: Cell::default(),
            series: RefCell::default(),
            waiting_requests: Gauge::new("authentik_proxy_waiting_requests".to_owned()),
            pending_calls: Gauge::new("authentik_proxy_pending_calls".to_owned()),
            call_limit: Gauge::new("authentik_proxy_call_limit".to_owned()),
            cache_entries: Gauge::new("authentik_proxy_cache_entries".to_owned()),
            config_info: Gauge::new(format!("{info}authentik_proxy_config_info")),
            warned: RefCell::default(),
            compared: Cell::default(),
            told: Cell::default(),
            is_shadow: config.shadow.is_some(),
        }
    }

    /// These are the providers from now on. The series that each has sooner or later begin with zero, so that a rate has their
    /// first event too.
    pub(super) fn name(&self, providers: Vec<(ProviderId, String)>) {
        let Ok(begun) = self.names.try_borrow_mut().map(|mut names| names.replace(providers)) else { return };
        for label in begun {
            for (reason, source) in [
                (Reason::Ok, Source::Cache),
                (Reason::NoCredential, Source::None),
                (Reason::Login, Source::None),
                (Reason::Refused, Source::Exchange),
                (Reason::Unavailable, Source::None),
            ] {
                self.request_series(Some(label), reason, source);
            }
            for finding in Finding::ALL.into_iter().filter(|_| self.is_shadow) {
                self.shadow_series(Some(label), finding);
            }
        }
    }

    /// A request was decided: counted once, and named for the access log.
    pub(super) fn decided(&self, report: &Report) {
        let Report { provider, reason, source, .. } = *report;
        let decided = (provider, reason, source);
        let metric = match self.last.get() {
            Some((last, metric)) if last == decided => Some(metric),
            Some(_) | None => {
                let label =
                    provider.map(|id| self.names.try_borrow().map_or(MAX_LABELS, |names| names.label(id)));
                self.request_series(label, reason, source)
            }
        };
        if let Some(metric) = metric {
            self.last.set(Some((decided, metric)));
            metrics::add(metric, 1);
        }
        self.name_decision(report);
        if reason == Reason::ShadowWithoutGate {
            self.count_shadow(provider, Finding::NoGate);
            host::set_property(SHADOW_PROPERTY, Finding::NoGate.as_str());
        }
    }

    /// Names a decision for the access log.
    fn name_decision(&self, report: &Report) {
        let Report { provider, reason, source, .. } = *report;
        host::set_property(REASON_PROPERTY, reason.as_str());
        host::set_property(SOURCE_PROPERTY, source.as_str());
        if let Some(id) = provider
            && let Ok(names) = self.names.try_borrow()
            && let Some(name) = names.name(id)
        {
            host::set_property(PROVIDER_PROPERTY, name);
        }
    }

    fn request_series(&self, label: Option<Label>, reason: Reason, source: Source) -> Option<Metric> {
        self.metric(Series::Requests(label, reason, source), Kind::Counter, || {
            let labels = labels([
                ("provider", &self.label(label)),
                ("outcome", reason.outcome().as_str()),
                ("reason", reason.as_str()),
                ("source", source.as_str()),
            ]);
            format!("{labels}authentik_proxy_requests_total")
        })
    }

    fn shadow_series(&self, label: Option<Label>, finding: Finding) -> Option<Metric> {
        self.metric(Series::Shadow(label, finding), Kind::Counter, || {
            let labels = labels([("provider", &self.label(label)), ("result", finding.as_str())]);
            format!("{labels}authentik_proxy_shadow_total")
        })
    }

    fn count_shadow(&self, provider: Option<ProviderId>, finding: Finding) {
        let label = provider.map(|id| self.names.try_borrow().map_or(MAX_LABELS, |names| names.label(id)));
        if let Some(metric) = self.shadow_series(label, finding) {
            metrics::add(metric, 1);
        }
    }

    /// In shadow mode: the result for a request. Counted once; named for its access log while the request `is_alive`; in
    /// the log if it is a disagreement, or if an operator must act.
    pub(super) fn observed(&self, comparison: &Comparison, is_alive: bool) {
        let Comparison { provider, finding, report, line } = comparison;
        self.count_shadow(*provider, *finding);
        if is_alive {
            host::set_property(SHADOW_PROPERTY, finding.as_str());
            if let Some(report) = report {
                self.name_decision(report);
            }
        }
        let Some(ShadowLine { log: cause, .. }) = line else { return };
        let (level, is_due) = if finding.is_disagreement() {
            (log::Level::Info, self.may_log_comparison())
        } else {
            (log::Level::Warn, self.is_news(cause))
        };
        if is_due {
            log::log!(level, "{}", comparison.log_line().unwrap_or_default());
        }
    }

    fn may_log_comparison(&self) -> bool {
        let Ok(now) = host::milliseconds() else { return false };
        let minute = now / WARNING_INTERVAL;
        let (last, count) = self.compared.get();
        let count = if last == minute { count.saturating_add(1) } else { 1 };
        self.compared.set((minute, count));
        count <= MAX_COMPARISONS
    }

    /// A call to authentik has come to its end; `milliseconds` after it was sent, if it was.
    pub(super) fn called(&self, endpoint: Endpoint, result: CallResult, milliseconds: Option<u64>) {
        let total = self.metric(Series::Calls(endpoint, result), Kind::Counter, || {
            let labels = labels([("endpoint", endpoint.as_str()), ("result", result.as_str())]);
            format!("{labels}authentik_proxy_authentik_calls_total")
        });
        if let Some(metric) = total {
            metrics::add(metric, 1);
        }
        let Some(milliseconds) = milliseconds else { return };
        let duration = self.metric(Series::Durations(endpoint), Kind::Histogram, || {
            let labels = labels([("endpoint", endpoint.as_str())]);
            format!("{labels}authentik_proxy_authentik_call_milliseconds")
        });
        if let Some(metric) = duration {
            metrics::record(metric, milliseconds);
        }
    }

    /// Whether the log has not warned of this cause at this provider for a minute.
    pub(super) fn is_news(&self, line: &LogLine) -> bool {
        let (Ok(now), Ok(mut warned)) = (host::milliseconds(), self.warned.try_borrow_mut()) else {
            return true;
        };
        warned.retain(|(_, since)| now.saturating_sub(*since) < WARNING_INTERVAL);
        let cause = format!("{}: {}", line.provider, line.message);
        if warned.len() >= MAX_CAUSES || warned.iter().any(|(known, _)| *known == cause) {
            return false;
        }
        warned.push((cause, now));
        true
    }

    /// What goes on in the worker now. Not while it is configured: Envoy starts a VM only to try a configuration, and ends it
    /// without a word.
    pub(super) fn load(&self, load: &Load) {
        self.config_info.set(1);
        self.waiting_requests.set(load.waiting_requests);
        self.pending_calls.set(load.pending_calls);
        self.call_limit.set(load.call_limit);
        self.cache_entries.set(load.cache_entries);
        for (id, age) in &load.keys_age {
            let label = self.names.try_borrow().map_or(MAX_LABELS, |names| names.label(*id));
            if label >= MAX_LABELS {
                continue;
            }
            let metric = self.metric(Series::KeysAge(label), Kind::Gauge, || {
                format!(
                    "{}authentik_proxy_keys_age_seconds",
                    labels([("provider", &self.label(Some(label)))])
                )
            });
            if let Some(metric) = metric {
                metrics::record(metric, *age);
            }
        }
        for (age, series, name) in [
            (load.config_age, Series::ConfigAge, "authentik_proxy_config_age_seconds"),
            (load.events_age, Series::EventsAge, "authentik_proxy_events_age_seconds"),
        ] {
            if let Some(age) = age
                && let Some(metric) = self.metric(series, Kind::Gauge, || name.to_owned())
            {
                metrics::record(metric, age);
            }
        }
        self.count_endings(load);
    }

    /// The counts of ended and of confirmed sessions: what has come to them since they were last told.
    #[inline(never)]
    fn count_endings(&self, load: &Load) {
        let (told_ended, told_confirmations) = self.told.replace((load.ended_sessions, load.confirmations));
        let ended = load.ended_sessions.into_iter().zip(told_ended).zip(Cause::ALL);
        for ((count, told), cause) in ended {
            let label = ("reason", cause.as_str());
            self.count_further(Series::EndedSessions(cause), "ended_sessions", label, (count, told));
        }
        let confirmations = load.confirmations.into_iter().zip(told_confirmations).zip(Confirmation::ALL);
        for ((count, told), result) in confirmations {
            let label = ("result", result.as_str());
            self.count_further(Series::Confirmations(result), "confirmations", label, (count, told));
        }
    }

    /// Each series begins with zero, so that a rate has its first event too.
    #[inline(never)]
    fn count_further(&self, series: Series, name: &str, label: (&str, &str), (count, told): (u64, u64)) {
        let name = || format!("{}authentik_proxy_{name}_total", labels([label]));
        let metric = self.metric(series, Kind::Counter, name);
        let further = i64::try_from(count.saturating_sub(told)).unwrap_or(i64::MAX);
        if let Some(metric) = metric.filter(|_| further > 0) {
            metrics::add(metric, further);
        }
    }

    fn metric(&self, series: Series, kind: Kind, name: impl FnOnce() -> String) -> Option<Metric> {
        let mut metrics = self.series.try_borrow_mut().ok()?;
        *metrics.entry(series).or_insert_with(|| metrics::define(kind, &name()))
    }

    /// What the label says.
    fn label(&self, label: Option<Label>) -> String {
        self.names.try_borrow().map_or_else(|_| String::new(), |names| names.text(label).to_owned())
    }
}

/// The labels of a stat's name.
fn labels<const N: usize>(labels: [(&str, &str); N]) -> String {
    labels.iter().map(|(name, value)| format!("authentik_{name}=.={value};.;")).collect()
}

/// A gauge that is the sum over all workers: each adds what has changed. What it stood for is taken back with it.
struct Gauge {
    metric: Option<Metric>,
    value: Cell<i64>,
}

impl Gauge {
    fn new(name: String) -> Self {
        Self { metric: metrics::define(Kind::Gauge, &name), value: Cell::new(0) }
    }

    fn set(&self, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        let change = value.saturating_sub(self.value.replace(value));
        if let Some(metric) = self.metric.filter(|_| change != 0) {
            metrics::add(metric, change);
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.set(0);
    }
}
