//! What Prometheus is told, in the names of the project's contract.

use std::collections::HashMap;
use std::sync::Arc;

use agent_core::{Phases, Transition};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::notify::Results;
use crate::script::Counts;
use crate::status::Status;
use crate::times::{BOUNDS, Times};

/// The type of what [`Metrics::render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// In seconds: from a tenth of a millisecond to the longest deadline.
const PHASE_BOUNDS: [f64; 15] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

type Labels<const N: usize> = [(&'static str, String); N];

/// What is counted over the life of the agent.
#[derive(Clone, Debug)]
pub struct Metrics {
    transitions: Family<Labels<3>, Counter>,
    phases: Family<Labels<2>, Histogram>,
}

/// What is read at the moment of the question.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    pub status: &'a Status,
    /// Frames that the XDP program saw, by what became of them.
    pub packets: Vec<(&'static str, u64)>,
    pub event_loop_late: Times,
    /// How long the probes of the server took, by kind; none without a server.
    pub probes: Vec<(&'static str, Times)>,
    pub scripts: &'a [Arc<Counts>],
    pub notifications: &'a [Arc<Results>],
}

impl Default for Metrics {
    fn default() -> Self {
        Self { transitions: Family::default(), phases: Family::new_with_constructor(|| Histogram::new(PHASE_BOUNDS)) }
    }
}

impl Metrics {
    pub fn count(&self, router: &str, transition: &Transition) {
        let labels = [
            ("router", router.to_owned()),
            ("to", transition.to.as_str().to_owned()),
            ("reason", transition.reason.as_str().to_owned()),
        ];
        self.transitions.get_or_create(&labels).inc();
        let Phases { detect, fence, drain, open, vip, announce } = transition.phases;
        if transition.to != agent_core::StateName::Active {
            return;
        }
        let phases = [
            ("detect", detect),
            ("fence", fence),
            ("drain", drain),
            ("open", open),
            ("vip", vip),
            ("announce", announce),
        ];
        for (phase, took) in phases {
            let labels = [("router", router.to_owned()), ("phase", phase.to_owned())];
            self.phases.get_or_create(&labels).observe(took.as_secs_f64());
        }
    }

    /// The text for a scrape (OpenMetrics 1.0).
    pub fn render(&self, reading: &Reading<'_>) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("vipd");
        let status = reading.status;
        registry.register("transitions", "Changes of state", self.transitions.clone());
        registry.register("takeover_phase_seconds", "How long each part of a takeover took", self.phases.clone());
        register_routers(&mut registry, status);
        let packets: Family<Labels<1>, Counter> = Family::default();
        for &(outcome, count) in &reading.packets {
            packets.get_or_create(&[("outcome", outcome.to_owned())]).inc_by(count);
        }
        registry.register("xdp_packets", "Frames by what the datapath did with them", packets);
        if !reading.scripts.is_empty() {
            let runs: Family<Labels<2>, Counter> = Family::default();
            for counts in reading.scripts {
                for (result, count) in [("passed", counts.passed()), ("failed", counts.failed())] {
                    let labels = [("script", counts.name.clone()), ("result", result.to_owned())];
                    runs.get_or_create(&labels).inc_by(count);
                }
            }
            registry.register("script_runs", "Runs of tracked scripts by result", runs);
        }
        if !reading.notifications.is_empty() {
            let told: Family<Labels<2>, Counter> = Family::default();
            for results in reading.notifications {
                for (result, count) in [("told", results.told()), ("failed", results.failed())] {
                    let labels = [("way", results.way.to_owned()), ("result", result.to_owned())];
                    told.get_or_create(&labels).inc_by(count);
                }
            }
            registry.register("notifications", "Changes of state that others were told of, by way and result", told);
        }
        if let Some(mysql) = &status.mysql {
            let up = ConstGauge::new(i64::from(mysql.state == "healthy"));
            registry.register("mysql_up", "1 while the local server is healthy", up);
            if let Some(lag) = mysql.replication.as_ref().and_then(|replication| replication.lag_ms) {
                let help = "How far the local server lags behind its peer; absent while unknown";
                registry.register("replication_lag_seconds", help, ConstGauge::new(seconds(lag)));
            }
            let help = "How long the probes of the server took, by kind and whatever their outcome";
            registry.register("mysql_probe_seconds", help, Probes(reading.probes.clone()));
        }
        let help = "How late the election thread was at its deadlines";
        registry.register("event_loop_late_seconds", help, Late(reading.event_loop_late));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn register_routers(registry: &mut Registry, status: &Status) {
    let active: Family<Labels<1>, Gauge> = Family::default();
    let serving: Family<Labels<1>, Gauge> = Family::default();
    let priority: Family<Labels<1>, Gauge> = Family::default();
    let lease: Family<Labels<1>, Gauge<f64, std::sync::atomic::AtomicU64>> = Family::default();
    let restored: Family<Labels<1>, Counter> = Family::default();
    let adverts: Family<Labels<3>, Counter> = Family::default();
    for router in &status.virtual_routers {
        let name = [("router", router.name.clone())];
        active.get_or_create(&name).set(i64::from(router.state == "active"));
        serving.get_or_create(&name).set(i64::from(router.serving));
        priority.get_or_create(&name).set(i64::from(router.effective_priority));
        lease.get_or_create(&name).set(router.lease_remaining_ms.map_or(0.0, seconds));
        restored.get_or_create(&name).inc_by(router.addresses_restored);
        let count = |direction: &str, result: &str, count: u64| {
            let [(_, router)] = name.clone();
            let labels = [("router", router), ("direction", direction.to_owned()), ("result", result.to_owned())];
            adverts.get_or_create(&labels).inc_by(count);
        };
        count("sent", "ok", router.adverts.sent);
        count("received", "ok", router.adverts.received);
    }
    // Refusals are counted for the host: a packet that is refused may belong to no router.
    if let Some(first) = status.virtual_routers.first() {
        for (reason, &refused) in &first.adverts.refused {
            let labels = [("router", String::new()), ("direction", "received".to_owned()), ("result", reason.clone())];
            adverts.get_or_create(&labels).inc_by(refused);
        }
    }
    registry.register("active", "1 while this host speaks for the virtual router", active);
    registry.register("serving", "1 while this host holds the addresses and its server is open", serving);
    registry.register("effective_priority", "The priority as advertised; 0 while no candidate", priority);
    registry.register("lease_remaining_seconds", "How long this host may still serve; 0 unless Active", lease);
    registry.register("addresses_restored", "Virtual addresses put back that another program had removed", restored);
    registry.register("adverts", "Advertisements sent and received", adverts);
}

fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}

#[derive(Debug)]
struct Late(Times);

impl EncodeMetric for Late {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        encode_times(&self.0, &mut encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[derive(Debug)]
struct Probes(Vec<(&'static str, Times)>);

impl EncodeMetric for Probes {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (kind, times) in &self.0 {
            let labels = [("kind", *kind)];
            encode_times(times, &mut encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn encode_times(times: &Times, encoder: &mut MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
    let Times { buckets, sum, count } = times;
    let bounds = BOUNDS.iter().map(std::time::Duration::as_secs_f64).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(*buckets).collect();
    encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), *count, &buckets, None::<&HashMap<_, _>>)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agent_core::{Instant, Reason, RouterId, StateName};

    use super::*;

    fn transition() -> Transition {
        Transition {
            router: RouterId(0),
            at: Instant::from_nanos(0),
            from: StateName::Backup,
            to: StateName::Active,
            reason: Reason::PeerResigned,
            phases: Phases { vip: Duration::from_millis(2), ..Phases::default() },
            detail: None,
        }
    }

    #[test]
    fn a_scrape_shows_state_transitions_phases_and_lateness() {
        let metrics = Metrics::default();
        metrics.count("mysql", &transition());
        let mut status = crate::status::example();
        status.virtual_routers[0].addresses_restored = 3;
        let mut event_loop_late = Times::default();
        event_loop_late.note(Duration::from_micros(80));
        let scripts = [Arc::new(Counts::new("disk"))];
        let mut pings = Times::default();
        pings.note(Duration::from_micros(300));
        let reading = Reading {
            status: &status,
            packets: vec![("served", 7)],
            event_loop_late,
            probes: vec![("ping", pings)],
            scripts: &scripts,
            notifications: &[Arc::new(Results::new("email"))],
        };
        let text = metrics.render(&reading).unwrap();
        for line in [
            "vipd_active{router=\"mysql\"} 1",
            "vipd_serving{router=\"mysql\"} 1",
            "vipd_lease_remaining_seconds{router=\"mysql\"} 0.271",
            "vipd_transitions_total{router=\"mysql\",to=\"active\",reason=\"peer_resigned\"} 1",
            "vipd_takeover_phase_seconds_bucket{le=\"0.0025\",router=\"mysql\",phase=\"vip\"} 1",
            "vipd_takeover_phase_seconds_bucket{le=\"0.001\",router=\"mysql\",phase=\"vip\"} 0",
            "vipd_adverts_total{router=\"mysql\",direction=\"sent\",result=\"ok\"} 12",
            "vipd_adverts_total{router=\"\",direction=\"received\",result=\"checksum\"} 2",
            "vipd_addresses_restored_total{router=\"mysql\"} 3",
            "vipd_xdp_packets_total{outcome=\"served\"} 7",
            "vipd_effective_priority{router=\"mysql\"} 80",
            "vipd_script_runs_total{script=\"disk\",result=\"failed\"} 0",
            "vipd_notifications_total{way=\"email\",result=\"failed\"} 0",
            "vipd_mysql_up 1",
            "vipd_replication_lag_seconds 0.0",
            "vipd_mysql_probe_seconds_bucket{le=\"0.00025\",kind=\"ping\"} 0",
            "vipd_mysql_probe_seconds_bucket{le=\"0.0005\",kind=\"ping\"} 1",
            "vipd_mysql_probe_seconds_count{kind=\"ping\"} 1",
            "vipd_event_loop_late_seconds_bucket{le=\"0.0001\"} 1",
            "vipd_event_loop_late_seconds_bucket{le=\"+Inf\"} 1",
            "vipd_event_loop_late_seconds_count 1",
        ] {
            assert_eq!(text.lines().filter(|&found| found == line).count(), 1, "{line} in:\n{text}");
        }
    }

    #[test]
    fn without_a_server_and_without_lag_nothing_is_made_up() {
        let mut status = crate::status::example();
        status.mysql = None;
        let reading = Reading {
            status: &status,
            packets: Vec::new(),
            event_loop_late: Times::default(),
            probes: Vec::new(),
            scripts: &[],
            notifications: &[],
        };
        let text = Metrics::default().render(&reading).unwrap();
        assert!(
            !text.contains("mysql_")
                && !text.contains("replication_lag")
                && !text.contains("script")
                && !text.contains("notif"),
            "{text}"
        );
    }
}
