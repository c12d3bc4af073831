//! Figures of the server, in the text format of Prometheus.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use abyme_core::Usage;
use axum::http::StatusCode;
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The format of [`Metrics::text`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names and values.
type Labels = Vec<(&'static str, String)>;

/// The figures.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    runs: Family<Labels, Counter>,
    tokens: Family<Labels, Counter>,
    calls: Family<Labels, Counter>,
    cost: Family<Labels, Counter<f64, AtomicU64>>,
    running: Gauge,
    waiting: Gauge,
    connections: Gauge,
    queue_seconds: Histogram,
    run_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // From a tenth of a second to an hour.
        let seconds = || Histogram::new(exponential_buckets(0.1, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix("abyme"),
            requests: Family::default(),
            runs: Family::default(),
            tokens: Family::default(),
            calls: Family::default(),
            cost: Family::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            connections: Gauge::default(),
            queue_seconds: seconds(),
            run_seconds: seconds(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Requests by key and status", metrics.requests.clone());
        registry.register("runs", "Runs by key and how they ended", metrics.runs.clone());
        registry.register("tokens", "Tokens of models by key and kind", metrics.tokens.clone());
        registry.register("model_calls", "Calls of models by key", metrics.calls.clone());
        registry.register("cost_dollars", "US dollars by key, as far as known", metrics.cost.clone());
        registry.register("runs_at_work", "Runs at work", metrics.running.clone());
        registry.register("requests_waiting", "Requests that wait for a run to end", metrics.waiting.clone());
        registry.register("connections", "Connections that are open", metrics.connections.clone());
        registry.register("queue_seconds", "How long requests waited", metrics.queue_seconds.clone());
        registry.register("run_seconds", "How long runs took", metrics.run_seconds.clone());
        metrics
    }

    /// A request was answered, a stream as soon as it began.
    pub(crate) fn answered(&self, key: &str, status: StatusCode) {
        let labels = vec![("key", key.to_owned()), ("status", status.as_u16().to_string())];
        self.requests.get_or_create(&labels).inc();
    }

    /// A request waited.
    pub(crate) fn waited(&self, time: Duration) {
        self.queue_seconds.observe(time.as_secs_f64());
    }

    /// A run ended.
    pub(crate) fn ended(&self, key: &str, outcome: &str, time: Duration, usage: &Usage) {
        let labels = |more: Option<(&'static str, &str)>| -> Labels {
            let key = ("key", key.to_owned());
            [key].into_iter().chain(more.map(|(name, value)| (name, value.to_owned()))).collect()
        };
        self.run_seconds.observe(time.as_secs_f64());
        self.runs.get_or_create(&labels(Some(("outcome", outcome)))).inc();
        self.calls.get_or_create(&labels(None)).inc_by(usage.calls);
        self.cost.get_or_create(&labels(None)).inc_by(usage.cost.unwrap_or(0.0).max(0.0));
        for (kind, tokens) in [
            ("input", usage.input_tokens),
            ("cached", usage.cached_tokens),
            ("output", usage.output_tokens),
            ("reasoning", usage.reasoning_tokens),
        ] {
            if let Some(tokens) = tokens {
                self.tokens.get_or_create(&labels(Some(("kind", kind)))).inc_by(tokens);
            }
        }
    }

    /// A connection that is open until what this gives is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// All figures.
    ///
    /// # Errors
    /// None that happen: a text takes everything.
    pub(crate) fn text(&self, running: usize, waiting: usize) -> Result<String, fmt::Error> {
        self.running.set(i64::try_from(running).unwrap_or(i64::MAX));
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Counts a connection while it is open.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
