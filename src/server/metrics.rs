//! What Prometheus reads from `/metrics` (OpenMetrics text).
//!
//! | Name | Type | Meaning |
//! |---|---|---|
//! | `fairlead_build_info{version}` | info | which version runs |
//! | `fairlead_commit_observed_timestamp_seconds` | gauge | when the newest commit of the control branch was first seen |
//! | `fairlead_fetch_total{result}` | counter | fetches; `result` is `changed`, `unchanged` or `failed` |
//! | `fairlead_fetch_duration_seconds` | histogram | how long fetches take |
//! | `fairlead_targets{fleet,state}` | gauge | targets by state; every state that has any |
//! | `fairlead_rollout_state{fleet,state}` | gauge | 1 for the state that the fleet is in, else 0 |
//! | `fairlead_stopped` | gauge | 1 while an emergency stop stands |
//! | `fairlead_api_requests_total{verb,code}` | counter | requests to clusters' API servers; `verb` as in Kubernetes, `apply` for server-side apply; `code` is `error` without an answer |
//! | `fairlead_drift_healed_total` | counter | objects put right after someone else changed them |
//! | `fairlead_facts_total{kind}` | counter | what clusters' workers said |
//! | `fairlead_facts_waiting` | gauge | what they said and was not taken in yet |
//! | `fairlead_webhooks_total{result}` | counter | deliveries of the forge; `result` is `taken`, `ignored`, `other-repository`, `refused` (no good signature) or `malformed` |
//! | `process_resident_memory_bytes`, `process_cpu_seconds_total`, `process_open_fds`, `process_start_time_seconds` | | of this process |
//!
//! No label has a value that the outside makes up: fleets are named in Git, all else is a closed list.

use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::view::Views;
use fairlead_core::model::assignment::FactBody;
use from_view::ViewCollector;
use process::ProcessCollector;

mod from_view;
mod process;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The OpenMetrics content type of [`Metrics::text`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchResult {
    Changed,
    Unchanged,
    Failed,
}

/// Counts and gauges. Shared by an `Arc`; every method is cheap and waits for nothing but a short lock.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    commit_observed: Gauge,
    fetches: Family<Labels<1>, Counter>,
    fetch_duration: Histogram,
    api_requests: Family<Labels<2>, Counter>,
    drift_healed: Counter,
    facts: Family<Labels<1>, Counter>,
    facts_waiting: Gauge,
    webhooks: Family<Labels<1>, Counter>,
}

impl Metrics {
    /// What is in the view (targets, rollouts) is read from it at each scrape.
    pub fn new(views: Views) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            commit_observed: Gauge::default(),
            fetches: Family::default(),
            // 5 ms to 82 s.
            fetch_duration: Histogram::new(exponential_buckets(0.005, 2.0, 15)),
            api_requests: Family::default(),
            drift_healed: Counter::default(),
            facts: Family::default(),
            facts_waiting: Gauge::default(),
            webhooks: Family::default(),
        };
        metrics.register(views);
        metrics
    }

    fn register(&mut self, views: Views) {
        self.registry.register_collector(Box::new(ProcessCollector));
        let registry = self.registry.sub_registry_with_prefix("fairlead");
        registry.register_collector(Box::new(ViewCollector::new(views)));
        registry.register("build", "Version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register(
            "commit_observed_timestamp_seconds",
            "When the newest commit was first seen",
            self.commit_observed.clone(),
        );
        registry.register("fetch", "Fetches of the repository", self.fetches.clone());
        registry.register("fetch_duration_seconds", "Duration of fetches", self.fetch_duration.clone());
        registry.register("api_requests", "Requests to clusters' API servers", self.api_requests.clone());
        registry.register("drift_healed", "Objects put right", self.drift_healed.clone());
        registry.register("facts", "What clusters' workers said", self.facts.clone());
        registry.register("facts_waiting", "Facts not taken in yet", self.facts_waiting.clone());
        registry.register("webhooks", "Deliveries of the forge", self.webhooks.clone());
    }

    /// A new commit of the control branch was seen.
    pub fn commit_observed(&self, at: Timestamp) {
        self.commit_observed.set(at.as_second());
    }

    pub fn fetched(&self, result: FetchResult, took: Duration) {
        let result = match result {
            FetchResult::Changed => "changed",
            FetchResult::Unchanged => "unchanged",
            FetchResult::Failed => "failed",
        };
        self.fetches.get_or_create(&[("result", result)]).inc();
        self.fetch_duration.observe(took.as_secs_f64());
    }

    /// A request to a cluster was answered with an HTTP status, or (none) not at all. The verb is Kubernetes'
    /// word for it, and `apply` for a server-side apply.
    pub fn api_request(&self, verb: &'static str, status: Option<u16>) {
        self.api_requests.get_or_create(&[("verb", verb), ("code", code(status))]).inc();
    }

    pub fn drift_healed(&self, count: u64) {
        self.drift_healed.inc_by(count);
    }

    pub fn fact(&self, fact: &FactBody) {
        self.facts.get_or_create(&[("kind", fact_kind(fact))]).inc();
    }

    /// A delivery of the forge came, and what became of it: one of a closed list of words. Gives how many came to the
    /// same end before.
    pub fn webhook(&self, result: &'static str) -> u64 {
        self.webhooks.get_or_create(&[("result", result)]).inc()
    }

    /// How many facts wait to be taken in.
    pub fn facts_waiting(&self, count: usize) {
        self.facts_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// All of it as Prometheus reads it.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The statuses that Kubernetes documents; others by class, so that no server can make up series.
fn code(status: Option<u16>) -> &'static str {
    match status {
        None => "error",
        Some(101) => "101",
        Some(200) => "200",
        Some(201) => "201",
        Some(202) => "202",
        Some(400) => "400",
        Some(401) => "401",
        Some(403) => "403",
        Some(404) => "404",
        Some(405) => "405",
        Some(409) => "409",
        Some(410) => "410",
        Some(413) => "413",
        Some(415) => "415",
        Some(422) => "422",
        Some(429) => "429",
        Some(500) => "500",
        Some(502) => "502",
        Some(503) => "503",
        Some(504) => "504",
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(_) => "5xx",
    }
}

fn fact_kind(fact: &FactBody) -> &'static str {
    match fact {
        FactBody::Online { .. } => "online",
        FactBody::Offline { .. } => "offline",
        FactBody::Progress { .. } => "progress",
        FactBody::Diagnosed { .. } => "diagnosed",
        FactBody::Stalled { .. } => "stalled",
        FactBody::Converged { .. } => "converged",
        FactBody::Failed { .. } => "failed",
        FactBody::Held { .. } => "held",
        FactBody::Unhealthy { .. } => "unhealthy",
        FactBody::Drift { .. } => "drift",
        FactBody::Contested { .. } => "contested",
        FactBody::Kept { .. } => "kept",
        FactBody::BreakGlass { .. } => "breakGlass",
        FactBody::Removed => "removed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::view::{Publisher, RepositoryView, StatusView};

    fn metrics() -> (Publisher, Metrics) {
        let view = StatusView::empty(Default::default(), RepositoryView::default());
        let (publisher, views) = Publisher::new(view);
        (publisher, Metrics::new(views))
    }

    #[test]
    fn documented_names_are_the_names() {
        let (_publisher, metrics) = metrics();
        metrics.fetched(FetchResult::Changed, Duration::from_millis(7));
        metrics.api_request("apply", Some(200));
        metrics.fact(&FactBody::Removed);
        metrics.facts_waiting(7);
        let text = metrics.text().unwrap();
        for line in [
            concat!("fairlead_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "fairlead_commit_observed_timestamp_seconds 0",
            "fairlead_fetch_total{result=\"changed\"} 1",
            "fairlead_fetch_duration_seconds_bucket{le=\"0.01\"} 1",
            "fairlead_api_requests_total{verb=\"apply\",code=\"200\"} 1",
            "fairlead_drift_healed_total 0",
            "fairlead_facts_total{kind=\"removed\"} 1",
            "fairlead_facts_waiting 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
            let value = text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<f64>().ok());
            assert!(value.is_some_and(|v| v >= 0.0), "{name} is not in\n{text}");
        }
    }

    #[test]
    fn a_server_cannot_make_up_series() {
        let (_publisher, metrics) = metrics();
        (0..=u16::MAX).for_each(|status| metrics.api_request("get", Some(status)));
        let text = metrics.text().unwrap();
        assert!(text.lines().filter(|l| l.starts_with("fairlead_api_requests_total")).count() < 30);
    }
}
