//! `vipd doctor` on a host without a server.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The exit code and the report for a configuration.
fn examine(name: &str, configuration: &str) -> (Option<i32>, String) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let control = format!("\n[control]\nsocket = \"{}.sock\"\n", path.display());
    fs::write(&path, configuration.to_owned() + &control).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_vipd")).args(["doctor", "--config"]).arg(&path).output().unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn an_interface_that_is_missing_is_an_error_with_its_fix() {
    let configuration =
        "[[virtual_router]]\nname = \"mysql\"\ninterface = \"nowhere0\"\nvrid = 51\naddresses = [\"192.0.2.10/24\"]\n";
    let (code, report) = examine("doctor-interface.toml", configuration);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.starts_with("ERROR   virtual router \"mysql\": there is no interface nowhere0\n"), "{report}");
    assert!(report.contains("Fix: correct `interface`"), "{report}");
    assert!(report.contains("no server: plain VRRP"), "{report}");
}

#[test]
fn a_server_that_does_not_answer_is_an_error() {
    let configuration = "[[virtual_router]]\ninterface = \"lo\"\nvrid = 51\naddresses = [\"192.0.2.10/24\"]\n\n[mysql]\nendpoint = \"/nonexistent/mysqld.sock\"\n";
    let (code, report) = examine("doctor-server.toml", configuration);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("ERROR   /nonexistent/mysqld.sock: connect: "), "{report}");
}

#[test]
fn a_peer_behind_a_router_is_an_error_and_a_strange_network_a_warning() {
    let configuration = "[[virtual_router]]\nname = \"mysql\"\ninterface = \"lo\"\nvrid = 51\naddresses = [\"192.0.2.10/24\"]\npeers = [\"198.51.100.7\"]\n";
    let (code, report) = examine("doctor-peer.toml", configuration);
    assert_eq!(code, Some(1), "{report}");
    assert!(
        report.contains("ERROR   virtual router \"mysql\": peer 198.51.100.7 is in no network of lo\n"),
        "{report}"
    );
    assert!(report.contains("WARNING virtual router \"mysql\": 192.0.2.10 is in no network of lo\n"), "{report}");
}
