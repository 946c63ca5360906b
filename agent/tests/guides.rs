//! The guides name what there is.

use agent_core::Reason;
use agent_wire::Refusal;

const OPERATIONS: &str = include_str!("../../docs/operations.md");
const DATAPATH: &str = include_str!("../../docs/datapath.md");

/// Whether a table of the guide has the word in its first column.
fn has_row(guide: &str, word: &str) -> bool {
    let columns = guide.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    columns.flat_map(|column| column.split(", ")).any(|cell| cell == format!("`{word}`"))
}

#[test]
fn every_reason_has_its_row_in_the_guide_to_operations() {
    for reason in Reason::ALL {
        assert!(has_row(OPERATIONS, reason.as_str()), "{}", reason.as_str());
    }
}

#[test]
fn every_refusal_has_its_row_among_the_receive_checks() {
    for refusal in Refusal::ALL {
        assert!(has_row(DATAPATH, refusal.as_str()), "{}", refusal.as_str());
    }
}
