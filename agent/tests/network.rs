//! The adapters of the network against the kernel itself, in namespaces that each test makes.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "network/addresses.rs"]
mod addresses;
#[path = "network/namespace.rs"]
mod namespace;
