//! `vipd init` as a user calls it.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A folder of its own, which ends with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn vipd(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipd"));
        command.args(arguments).arg("--config").arg(self.0.join("vipd.toml")).stdin(Stdio::null());
        command.output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

const COMPLETE: [&str; 11] = [
    "init",
    "--interface",
    "eth0",
    "--address",
    "192.0.2.10/24",
    "--source",
    "192.0.2.1",
    "--peer",
    "192.0.2.2",
    "--endpoint",
    "/run/mysqld/mysqld.sock",
];

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn both_files_pass_the_check_and_mirror_each_other() {
    let folder = Folder::new("init-both");
    let output = folder.vipd(&COMPLETE);
    assert!(output.status.success(), "{}", told(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("vipd grants"));
    for file in ["vipd.toml", "vipd.twin.toml"] {
        let checked = folder.vipd(&["check-config", folder.0.join(file).to_str().unwrap()]);
        assert!(checked.status.success(), "{}", told(&checked));
    }
    let this = fs::read_to_string(folder.0.join("vipd.toml")).unwrap();
    let twin = fs::read_to_string(folder.0.join("vipd.twin.toml")).unwrap();
    assert!(this.contains("source_address = \"192.0.2.1\"\npeers = [\"192.0.2.2\"]"), "{this}");
    let mirrored = this.replace("192.0.2.1\"", "X").replace("192.0.2.2\"", "192.0.2.1\"").replace('X', "192.0.2.2\"");
    assert_eq!(twin, mirrored);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn a_file_that_is_there_stays_unless_it_is_forced() {
    let folder = Folder::new("init-there");
    fs::write(folder.0.join("vipd.toml"), "mine").unwrap();
    let output = folder.vipd(&COMPLETE);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("--force"), "{}", told(&output));
    assert_eq!(fs::read_to_string(folder.0.join("vipd.toml")).unwrap(), "mine");
    assert!(!folder.0.join("vipd.twin.toml").exists());
    assert!(folder.vipd(&[&COMPLETE[..], &["--force"]].concat()).status.success());
}

#[test]
fn without_a_terminal_every_missing_option_is_named() {
    let folder = Folder::new("init-missing");
    let output = folder.vipd(&["init", "--interface", "eth0"]);
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    assert!(told.contains("give --source, --peer, --address, --endpoint"), "{told}");
}

#[test]
fn what_the_check_refuses_is_not_written() {
    let folder = Folder::new("init-refused");
    let mut options = COMPLETE;
    // The other host cannot be this one.
    options[8] = "192.0.2.1";
    let output = folder.vipd(&options);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("peers"), "{}", told(&output));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let folder = Folder::new("init-nowhere");
    let path = folder.0.join("missing/vipd.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vipd"));
    let output = command.args(COMPLETE).arg("--config").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("missing/vipd.toml"), "{}", told(&output));
}
