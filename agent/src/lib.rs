//! The vipd agent: adapters around the decisions of `agent_core`.

pub mod advert_socket;
pub mod announce;
pub mod authentication;
pub mod causes;
pub mod cleanup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod datapath;
pub mod election;
pub mod interfaces;
pub mod keygen;
pub mod lateness;
pub mod link;
pub mod metrics;
pub mod mysql;
pub mod readiness;
pub mod realtime;
pub mod run;
pub mod secret;
pub mod service_manager;
pub mod status;
pub mod unheard;
pub mod vip;
pub mod web;
