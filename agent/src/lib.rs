//! The vipd agent: adapters around the decisions of `agent_core`.

pub mod advert_socket;
pub mod clock;
pub mod link;
pub mod readiness;
pub mod vip;
