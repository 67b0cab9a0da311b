//! Metrics that are derived from the view at each scrape, so that none is left over from a fleet that is gone.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::server::view::{FleetStatus, Views};

#[derive(Debug)]
pub(super) struct ViewCollector {
    views: Views,
}

impl ViewCollector {
    pub(super) fn new(views: Views) -> Self {
        Self { views }
    }
}

impl Collector for ViewCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let view = self.views.borrow().clone();
        let mut counts: BTreeMap<_, i64> = BTreeMap::new();
        for target in &view.targets {
            *counts.entry((&target.fleet, target.status)).or_default() += 1;
        }
        let mut targets =
            encoder.encode_descriptor("targets", "Targets by state", None, MetricType::Gauge)?;
        for ((fleet, state), count) in counts {
            let labels = [("fleet", fleet.as_str()), ("state", state.as_str())];
            ConstGauge::new(count).encode(targets.encode_family(&labels)?)?;
        }
        let stopped = "An emergency stop stands";
        let stopped = encoder.encode_descriptor("stopped", stopped, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(view.stopped.is_some())).encode(stopped)?;
        let mut rollouts =
            encoder.encode_descriptor("rollout_state", "The fleet's state", None, MetricType::Gauge)?;
        for fleet in &view.fleets {
            for state in FleetStatus::ALL {
                let labels = [("fleet", fleet.name.as_str()), ("state", state.as_str())];
                ConstGauge::new(i64::from(fleet.state == state)).encode(rollouts.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
