//! The decisions of vipd, without any I/O: election, health and takeover.
#![forbid(unsafe_code)]

pub mod action;
pub mod input;
pub mod parameters;
pub mod time;
pub mod transition;

pub use action::{Action, Gate};
pub use input::{
    Advert, Death, Doubt, Fault, Input, Probe, ProbeOutcome, Receiver, Replication, RouterId, ServerReport, Standing,
    StepFailure, Ticket,
};
pub use parameters::{Parameters, RouterParameters, ServerParameters, Writers};
pub use time::Instant;
pub use transition::{Phases, Reason, StateName, Transition};
