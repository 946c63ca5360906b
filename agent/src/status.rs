//! What `vipd status` shows: the status as JSON (schema 1; fields are only ever added) and as text.

mod text;
mod timestamp;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::timestamp::timestamp;

/// The number of the schema that this version writes.
pub const SCHEMA: u32 = 1;

/// The state of an agent at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The name of the node.
    pub node: String,
    /// The version of the agent.
    pub version: String,
    /// Since the start of the agent, in milliseconds.
    pub uptime_ms: u64,
    pub datapath: DatapathStatus,
    pub virtual_routers: Vec<RouterStatus>,
    /// `None`: there is no server to watch.
    pub mysql: Option<MysqlStatus>,
    /// `None`: there is no link to the other agent.
    pub peer: Option<PeerStatus>,
}

/// How frames reach the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatapathStatus {
    /// `native`, `generic` or `socket`.
    pub mode: String,
    /// The interface of the first virtual router.
    pub interface: String,
    /// Whether the kernel enforces the lease.
    pub gate: bool,
    /// Why a better mode is not in use.
    pub fallback_reason: Option<String>,
}

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterStatus {
    pub name: String,
    /// `1..=255`.
    pub vrid: u8,
    pub interface: String,
    /// `initialize`, `backup` or `active`.
    pub state: String,
    /// Whether the addresses are local and the server behind them is open.
    pub serving: bool,
    /// As configured, `1..=254`.
    pub priority: u8,
    /// As advertised; 0 while the router is no candidate.
    pub effective_priority: u8,
    /// What makes the priority, the configured one first; their sum is kept within `1..=254`.
    #[serde(default)]
    pub priority_parts: Vec<PriorityPart>,
    /// With their prefix.
    pub addresses: Vec<String>,
    /// The primary address of the Active Router, as far as one is known.
    pub active_address: Option<String>,
    pub advertisement_interval_ms: u64,
    /// How long this host may serve without another advertisement; `None` unless it is Active.
    pub lease_remaining_ms: Option<u64>,
    /// How many virtual addresses were put back that another program had removed.
    #[serde(default)]
    pub addresses_restored: u64,
    pub adverts: AdvertCounts,
    /// Why the router is no candidate, as a stable word.
    #[serde(default)]
    pub hindrance: Option<String>,
    /// `hindrance` as a sentence.
    #[serde(default)]
    pub hindrance_text: Option<String>,
    pub last_transition: Option<TransitionStatus>,
}

/// One of the things that the priority depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriorityPart {
    /// `configured`, `mysql`, or `interface`, `script` or `virtual router` with a name.
    pub source: String,
    /// What it adds.
    pub value: i32,
    /// Why it is not as it should be.
    pub reason: Option<String>,
    /// Whether it keeps the router from being a candidate.
    pub fault: bool,
}

/// Advertisements since the start of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertCounts {
    pub sent: u64,
    /// Valid ones.
    pub received: u64,
    /// By the reason for the refusal.
    pub refused: BTreeMap<String, u64>,
}

/// The last change of state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransitionStatus {
    /// UTC, RFC 3339 with milliseconds; see [`timestamp()`].
    pub at: String,
    pub from: String,
    pub to: String,
    /// A stable word.
    pub reason: String,
    /// `reason` as a sentence.
    #[serde(default)]
    pub reason_text: String,
    /// What went wrong, where something did.
    #[serde(default)]
    pub detail: Option<String>,
    pub phases_ms: PhasesMs,
}

/// How long each part of a change of state took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhasesMs {
    pub detect: f64,
    pub fence: f64,
    pub drain: f64,
    pub open: f64,
    pub vip: f64,
    pub announce: f64,
}

impl From<agent_core::Phases> for PhasesMs {
    fn from(phases: agent_core::Phases) -> Self {
        // To the microsecond: more digits say nothing.
        let ms = |duration: std::time::Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        Self {
            detect: ms(phases.detect),
            fence: ms(phases.fence),
            drain: ms(phases.drain),
            open: ms(phases.open),
            vip: ms(phases.vip),
            announce: ms(phases.announce),
        }
    }
}

/// The local server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlStatus {
    /// `unknown`, `healthy`, `degraded` or `failed`.
    pub state: String,
    /// Why it is not healthy, as a stable word.
    pub reason: Option<String>,
    /// `reason` as a sentence.
    #[serde(default)]
    pub reason_text: Option<String>,
    /// `mysql` or `mariadb`.
    pub flavour: Option<String>,
    pub server_version: Option<String>,
    /// `None`: not known.
    pub writable: Option<bool>,
    /// `None`: not known, or not a replica.
    pub replication: Option<ReplicationStatus>,
}

/// The channel from the peer's server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationStatus {
    pub receiving: bool,
    pub applying: bool,
    /// `None`: unknown, which is not zero.
    pub lag_ms: Option<u64>,
    /// Whether the server may become the writer.
    pub eligible: bool,
    /// Why not, as a stable word.
    pub reason: Option<String>,
    /// `reason` as a sentence, or the server's own words.
    #[serde(default)]
    pub reason_text: Option<String>,
}

/// The other agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    pub connected: bool,
    pub node: Option<String>,
    pub state: Option<String>,
    pub mysql: Option<String>,
}

#[cfg(test)]
pub(crate) fn example() -> Status {
    Status {
        schema: SCHEMA,
        node: "db1".to_owned(),
        version: "0.1.0".to_owned(),
        uptime_ms: 93_784_000,
        datapath: DatapathStatus {
            mode: "native".to_owned(),
            interface: "ens33".to_owned(),
            gate: true,
            fallback_reason: None,
        },
        virtual_routers: vec![RouterStatus {
            name: "mysql".to_owned(),
            vrid: 51,
            interface: "ens33".to_owned(),
            state: "active".to_owned(),
            serving: true,
            priority: 100,
            effective_priority: 80,
            priority_parts: vec![
                PriorityPart { source: "configured".to_owned(), value: 100, reason: None, fault: false },
                PriorityPart {
                    source: "interface ens34".to_owned(),
                    value: -20,
                    reason: Some("down".to_owned()),
                    fault: false,
                },
                PriorityPart { source: "script disk".to_owned(), value: 0, reason: None, fault: false },
            ],
            addresses: vec!["192.168.73.150/24".to_owned()],
            active_address: Some("192.168.73.141".to_owned()),
            advertisement_interval_ms: 100,
            lease_remaining_ms: Some(271),
            addresses_restored: 0,
            adverts: AdvertCounts {
                sent: 12,
                received: 1,
                refused: [("checksum".to_owned(), 2), ("ttl".to_owned(), 0)].into(),
            },
            hindrance: None,
            hindrance_text: None,
            last_transition: Some(TransitionStatus {
                at: "2026-01-01T00:00:00.000Z".to_owned(),
                from: "backup".to_owned(),
                to: "active".to_owned(),
                reason: "active_down_timer".to_owned(),
                reason_text: "the Active Router has fallen silent".to_owned(),
                detail: None,
                phases_ms: PhasesMs { detect: 300.5, ..PhasesMs::default() },
            }),
        }],
        mysql: Some(MysqlStatus {
            state: "healthy".to_owned(),
            reason: None,
            reason_text: None,
            flavour: Some("mariadb".to_owned()),
            server_version: Some("10.11.6".to_owned()),
            writable: Some(true),
            replication: Some(ReplicationStatus {
                receiving: true,
                applying: true,
                lag_ms: Some(0),
                eligible: true,
                reason: None,
                reason_text: None,
            }),
        }),
        peer: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the contract: what was readable once stays so.
    const CONTRACT: &str = r#"{"schema":1,"node":"db1","version":"0.1.0","uptime_ms":1,
        "datapath":{"mode":"native","interface":"ens33","gate":true,"fallback_reason":null},
        "virtual_routers":[{"name":"mysql","vrid":51,"interface":"ens33","state":"active","serving":true,
        "priority":100,"effective_priority":100,"addresses":["192.168.73.150/24"],
        "active_address":"192.168.73.141","advertisement_interval_ms":100,"lease_remaining_ms":271,
        "adverts":{"sent":1,"received":0,"refused":{"checksum":0,"ttl":0}},
        "last_transition":{"at":"2026-01-01T00:00:00.000Z","from":"backup","to":"active","reason":"active_down_timer",
        "phases_ms":{"detect":0.0,"fence":0.0,"drain":0.0,"open":0.0,"vip":0.0,"announce":0.0}}}],
        "mysql":{"state":"healthy","reason":null,"flavour":"mysql","server_version":"9.7.4","writable":true,
        "replication":{"receiving":true,"applying":true,"lag_ms":0,"eligible":true,"reason":null}},
        "peer":{"connected":true,"node":"db2","state":"backup","mysql":"healthy"}}"#;

    /// Checks that every key of `less` is in `more`, at all depths, with a value of the same type.
    fn assert_contains(more: &serde_json::Value, less: &serde_json::Value, path: &str) {
        use serde_json::Value;
        match (more, less) {
            (Value::Object(more), Value::Object(less)) => {
                for (key, value) in less {
                    let found = more.get(key).unwrap_or_else(|| panic!("{path}.{key} is gone"));
                    assert_contains(found, value, &format!("{path}.{key}"));
                }
            }
            (Value::Array(more), Value::Array(less)) => {
                assert_eq!(more.len(), less.len(), "{path}");
                for (more, less) in more.iter().zip(less) {
                    assert_contains(more, less, path);
                }
            }
            (more, less) => assert_eq!(more, less, "{path}"),
        }
    }

    #[test]
    fn the_json_has_every_field_of_the_contract() {
        let contract: serde_json::Value = serde_json::from_str(CONTRACT).unwrap();
        let status: Status = serde_json::from_str(CONTRACT).unwrap();
        assert_contains(&serde_json::to_value(&status).unwrap(), &contract, "status");
    }

    #[test]
    fn the_json_comes_back_as_it_went() {
        let status = example();
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }

    #[test]
    fn phases_are_in_milliseconds_to_the_microsecond() {
        let phases =
            agent_core::Phases { detect: std::time::Duration::from_nanos(1_234_567), ..agent_core::Phases::default() };
        assert!((PhasesMs::from(phases).detect - 1.235).abs() < 1e-9);
    }
}
