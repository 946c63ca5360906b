//! The bytes of vipd, shared by user space and the BPF programs.
#![no_std]

pub mod centiseconds;
pub mod mac;
pub mod priority;
pub mod vrid;
pub mod vrrp;

pub use centiseconds::Centiseconds;
pub use mac::MacAddress;
pub use priority::Priority;
pub use vrid::Vrid;
