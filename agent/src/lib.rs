//! The vipd agent: adapters around the decisions of `agent_core`.
