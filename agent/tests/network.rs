//! The adapters of the network against the kernel itself, in namespaces that each test makes.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "network/address_care.rs"]
mod address_care;
#[path = "network/addresses.rs"]
mod addresses;
#[path = "network/adverts.rs"]
mod adverts;
#[path = "network/agent.rs"]
mod agent;
#[path = "network/announcements.rs"]
mod announcements;
#[path = "network/namespace.rs"]
mod namespace;
#[path = "network/neighbouring_addresses.rs"]
mod neighbouring_addresses;
#[path = "network/tracking.rs"]
mod tracking;
#[path = "network/ways_in.rs"]
mod ways_in;
#[path = "network/xdp.rs"]
mod xdp;
