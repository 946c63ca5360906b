//! One minute of what `cargo xtask soak` does for thirty.

use std::time::Duration;

use lab::{Run, soak, turn};

#[test]
fn on_hogged_processors_an_interval_of_ten_milliseconds_moves_no_address_unless_the_machine_stands_still() {
    let Some(_turn) = turn() else { return };
    let run = Run::begin("soak-minute").unwrap();
    let report = soak::endure(&run, Duration::from_secs(60), true).unwrap();
    eprintln!("{report:?}");
    let vipd = report.pairs.first().unwrap();
    // `cargo xtask soak` demands zero, of a machine that does nothing else. Beside other work a processor can be taken
    // from whoever has the highest priority for longer than the lease of 30 ms; then the address has to move.
    assert!(vipd.false_takeovers <= report.stalls, "{report:?}");
    assert_eq!(vipd.holders, 1, "{report:?}");
    assert!(vipd.advertisements > 4_000, "{report:?}");
}
