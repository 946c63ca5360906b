//! What every fuzz target does with its bytes, for the fuzzer (`fuzz_targets/`) and for the replay of the corpus
//! (`agent/tests/corpus.rs`).

pub mod adverts;
pub mod configuration;
pub mod keepalived_import;
pub mod node;

/// A target takes any bytes and panics when something does not hold.
pub type Target = fn(&[u8]);

/// Every target by the name of its binary and of its corpus.
pub const TARGETS: [(&str, Target); 5] = [
    ("advert_v4", adverts::advert_v4),
    ("advert_v6", adverts::advert_v6),
    ("configuration", configuration::configuration),
    ("keepalived_import", keepalived_import::keepalived_import),
    ("node", node::node),
];
