//! The decisions of vipd, without any I/O: election, health and takeover.
#![forbid(unsafe_code)]

pub mod action;
mod effects;
mod election;
mod election_times;
pub mod health;
pub mod input;
pub mod node;
pub mod parameters;
mod replication;
pub mod snapshot;
mod takeover;
pub mod time;
mod tracking;
pub mod transition;

pub use action::{Action, Gate};
pub use health::{Failure, ServerState};
pub use input::{
    Advert, Death, Doubt, Fault, Input, InterfaceState, Probe, ProbeOutcome, Receiver, Replication, RouterId,
    ServerReport, Standing, StepFailure, Ticket, TrackId, TrackOutcome,
};
pub use node::Node;
pub use parameters::{
    Parameters, RouterParameters, ServerParameters, TrackKind, TrackParameters, TrackWeight, Writers,
};
pub use snapshot::{PartSource, PriorityPart, RouterSnapshot, Snapshot};
pub use time::Instant;
pub use transition::{Phases, Reason, StateName, Transition};
