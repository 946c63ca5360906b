//! The bytes of vipd, shared by user space and the BPF programs.
//!
//! Numbers on the wire are big-endian; in the maps they are in the host's order. No function here panics on any input.
#![no_std]

pub mod announcement;
pub mod centiseconds;
pub mod checksum;
pub mod header;
pub mod mac;
pub mod map;
pub mod priority;
pub mod refusal;
pub mod reset;
pub mod vrid;
pub mod vrrp;

pub use centiseconds::Centiseconds;
pub use checksum::ChecksumForm;
pub use mac::MacAddress;
pub use priority::Priority;
pub use refusal::Refusal;
pub use vrid::Vrid;
