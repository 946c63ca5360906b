//! The lab: two database hosts, a client and a switch in network namespaces, with real servers and agents.
//!
//! Everything here watches vipd from outside: nothing of the agent's own code takes part in the verdict.

pub mod agent;
pub mod arp;
pub mod bench;
pub mod demo;
pub mod forger;
pub mod frr;
pub mod handover;
pub mod keepalived;
pub mod load;
pub mod machine;
pub mod mariadb;
pub mod namespace;
pub mod network;
pub mod observer;
pub mod packet_socket;
pub mod pair;
pub mod play;
pub mod process;
pub mod realtime;
pub mod run;
pub mod soak;
pub mod stalls;
pub mod turn;
pub mod verify;
pub mod wire;
pub mod writer;

pub use agent::{Agent, Datapath};
pub use mariadb::Mariadb;
pub use network::{Host, Network};
pub use observer::Observer;
pub use pair::{Pair, Setting};
pub use run::Run;
pub use turn::turn;
pub use writer::Writer;
