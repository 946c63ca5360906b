//! Scripts as real processes: who runs them, when the verdict is due, and what is left over.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "scripts/hung_file_system.rs"]
mod hung_file_system;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent_core::{Input, TrackId, TrackOutcome};
use hung_file_system::HungFileSystem;
use tokio::sync::mpsc;
use vipd::script::{Account, Scripts, Settings};

const SECOND: Duration = Duration::from_secs(1);
const TRACK: TrackId = TrackId(3);

/// A folder that everybody may read and only root may write, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipd-script-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn script(&self, name: &str, mode: u32, body: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A place where any user may write.
    fn open_file(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn own_name() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap().name
}

fn settings(command: &[&str]) -> Settings {
    Settings {
        track: TRACK,
        name: "test".to_owned(),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        account: Account::find(&own_name()).unwrap(),
        interval: Duration::from_millis(100),
        timeout: SECOND,
    }
}

fn shell(line: &str) -> Settings {
    settings(&["/bin/sh", "-c", line])
}

fn failed(why: &str) -> TrackOutcome {
    TrackOutcome::Failed(why.to_owned())
}

/// A script that runs, its results with the time since the start.
struct Running {
    scripts: Scripts,
    results: mpsc::UnboundedReceiver<(Duration, TrackOutcome)>,
}

impl Running {
    fn start(settings: Settings) -> Self {
        let (sender, results) = mpsc::unbounded_channel();
        let began = Instant::now();
        let sink = move |input| {
            let Input::Track { track: TRACK, outcome } = input else { panic!("{input:?}") };
            sender.send((began.elapsed(), outcome)).ok();
        };
        Self { scripts: Scripts::start(vec![settings], Path::new(env!("CARGO_BIN_EXE_vipd")), sink).unwrap(), results }
    }

    async fn next(&mut self) -> (Duration, TrackOutcome) {
        tokio::time::timeout(10 * SECOND, self.results.recv()).await.unwrap().unwrap()
    }
}

/// The first result, and that nothing is left of the run.
async fn first(settings: Settings) -> TrackOutcome {
    let mut running = Running::start(settings);
    let (_, outcome) = running.next().await;
    running.scripts.stop().await;
    outcome
}

fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands after the name; a zombie runs no more.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn read_when_written(path: &Path) -> String {
    let began = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.ends_with('\n') {
            return text.trim_end().to_owned();
        }
        assert!(began.elapsed() < 5 * SECOND, "{} is never written", path.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn wait_gone(pid: &str) {
    let began = Instant::now();
    while lives(pid) {
        assert!(began.elapsed() < 5 * SECOND, "process {pid} is left over");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn the_exit_status_is_the_result() {
    assert_eq!(first(settings(&["/bin/true"])).await, TrackOutcome::Passed);
    assert_eq!(first(shell("exit 7")).await, failed("exit status 7"));
    assert_eq!(first(shell("kill -SEGV $$")).await, failed("ended by SIGSEGV"));
}

#[tokio::test]
async fn arguments_are_passed_as_they_are_and_the_environment_has_nothing_but_a_path() {
    let folder = Folder::new("environment");
    let file = folder.open_file("out");
    let line = "{ echo \"$1\"; env; pwd; ls /proc/self/fd | tr '\\n' ' '; echo; cat; } > \"$0\"";
    let outcome = first(settings(&["/bin/sh", "-c", line, file.to_str().unwrap(), "$HOME 'x' *"])).await;
    assert_eq!(outcome, TrackOutcome::Passed);
    let text = fs::read_to_string(&file).unwrap();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    // What the shell sets itself is none of the agent's; descriptor 3 is the folder that is listed.
    let own = |line: &&str| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name));
    assert_eq!(text.lines().filter(own).collect::<Vec<_>>(), ["$HOME 'x' *", path, "/", "0 1 2 3 "]);
}

#[tokio::test]
async fn a_script_runs_as_the_configured_user_with_its_groups_and_no_privileges() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: another user needs root");
        return;
    }
    let folder = Folder::new("user");
    let file = folder.open_file("out");
    let line = "{ id -u; id -g; id -G; grep CapEff /proc/self/status; cat /proc/self/oom_score_adj; } > \"$0\"";
    let own = settings(&["/bin/sh", "-c", line, file.to_str().unwrap()]);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid, nobody.gid);
    assert_eq!(first(Settings { account: Account::find("nobody").unwrap(), ..own }).await, TrackOutcome::Passed);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, format!("{uid}\n{gid}\n{gid}\nCapEff:\t0000000000000000\n0\n"));
    assert_ne!(uid.as_raw(), 0);
}

#[test]
fn a_user_that_does_not_exist_is_named() {
    let message = Account::find("nosuchuser").unwrap_err().to_string();
    assert!(message.contains("\"nosuchuser\"") && message.contains("create it"), "{message}");
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_a_failure_with_its_reason() {
    let folder = Folder::new("refused");
    let why = async |command: &str| match first(settings(&[command])).await {
        TrackOutcome::Failed(why) => why,
        TrackOutcome::Passed => panic!("{command} passes"),
    };
    let missing = why("/nonexistent/check").await;
    assert!(missing.contains("/nonexistent/check: No such file"), "{missing}");
    let plain = why(&folder.script("plain", 0o644, "exit 0")).await;
    assert!(plain.contains("cannot be started as") && plain.contains("Permission denied"), "{plain}");
    let directory = why(folder.0.to_str().unwrap()).await;
    assert!(directory.contains("is no file"), "{directory}");
    let written = why(&folder.script("written", 0o757, "exit 0")).await;
    assert!(written.contains("refused: others can write") && written.contains("chmod go-w"), "{written}");
    if nix::unistd::geteuid().is_root() {
        let foreign = folder.script("foreign", 0o755, "exit 0");
        std::os::unix::fs::chown(&foreign, Some(12_345), None).unwrap();
        let foreign = why(&foreign).await;
        assert!(foreign.contains("belongs neither to root nor to"), "{foreign}");
        let beside = folder.script("beside", 0o755, "exit 0");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
        let beside = why(&beside).await;
        assert!(beside.contains(&format!("others can write {} ", folder.0.display())), "{beside}");
    }
}

#[tokio::test]
async fn the_verdict_on_a_script_that_ignores_sigterm_is_due_at_the_deadline_and_nothing_is_left_of_it() {
    let folder = Folder::new("stubborn");
    let file = folder.open_file("pids");
    let line = "trap '' TERM INT HUP; sleep 1000 & echo $$ $! > \"$0\"; wait; sleep 1000";
    let own = settings(&["/bin/sh", "-c", line, file.to_str().unwrap()]);
    let mut running = Running::start(Settings { timeout: Duration::from_millis(300), interval: SECOND, ..own });
    let (at, outcome) = running.next().await;
    assert_eq!(outcome, failed("no result within 300ms"));
    assert!((300..600).contains(&at.as_millis()), "{at:?}");
    for pid in fs::read_to_string(&file).unwrap().split_whitespace() {
        wait_gone(pid).await;
    }
    assert_eq!(running.next().await.1, failed("no result within 300ms"), "it is run again");
    running.scripts.stop().await;
}

#[tokio::test]
async fn stopped_processes_of_a_run_are_killed_too() {
    let folder = Folder::new("stopped");
    let file = folder.open_file("pids");
    let line = "sh -c 'kill -STOP $$' & echo $! $$ > \"$0\"; kill -STOP $$";
    let own = settings(&["/bin/sh", "-c", line, file.to_str().unwrap()]);
    let mut running = Running::start(Settings { timeout: Duration::from_millis(200), ..own });
    assert_eq!(running.next().await.1, failed("no result within 200ms"));
    for pid in read_when_written(&file).await.split_whitespace() {
        wait_gone(pid).await;
    }
    running.scripts.stop().await;
}

#[tokio::test]
async fn what_a_script_leaves_behind_ends_with_it_and_delays_no_result() {
    let folder = Folder::new("background");
    let file = folder.open_file("pid");
    // It keeps the output open.
    let own = settings(&["/bin/sh", "-c", "sleep 1000 & echo $! > \"$0\"", file.to_str().unwrap()]);
    let mut running = Running::start(Settings { interval: 10 * SECOND, timeout: 5 * SECOND, ..own });
    let (at, outcome) = running.next().await;
    assert_eq!(outcome, TrackOutcome::Passed);
    assert!(at < 2 * SECOND, "{at:?}");
    wait_gone(read_when_written(&file).await.as_str()).await;
    running.scripts.stop().await;
}

#[tokio::test]
async fn a_script_that_writes_without_end_is_read_and_ended_at_its_deadline() {
    let own = shell("yes");
    let mut running = Running::start(Settings { timeout: Duration::from_millis(300), ..own });
    let (at, outcome) = running.next().await;
    assert_eq!(outcome, failed("no result within 300ms"));
    assert!(at < Duration::from_millis(900), "{at:?}");
    running.scripts.stop().await;
}

#[tokio::test]
async fn runs_follow_each_other_at_the_interval_and_are_counted() {
    let own = shell("exit 1");
    let mut running = Running::start(Settings { interval: Duration::from_millis(200), ..own });
    let mut at = Duration::ZERO;
    for _ in 0..5 {
        at = running.next().await.0;
    }
    assert!((800..1100).contains(&at.as_millis()), "{at:?}");
    let counts = running.scripts.counts();
    assert_eq!((counts[0].passed(), counts[0].failed()), (0, 5));
    running.scripts.stop().await;
}

#[tokio::test]
async fn when_the_agent_ends_its_scripts_are_killed() {
    let folder = Folder::new("end");
    for drop_only in [false, true] {
        let file = folder.open_file("pids");
        let line = "trap '' TERM; sleep 1000 & echo $$ $! > \"$0\"; wait; sleep 1000";
        let own = settings(&["/bin/sh", "-c", line, file.to_str().unwrap()]);
        let running = Running::start(Settings { timeout: 100 * SECOND, ..own });
        let pids = read_when_written(&file).await;
        let began = Instant::now();
        if drop_only {
            drop(running.scripts);
        } else {
            running.scripts.stop().await;
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        }
        for pid in pids.split_whitespace() {
            wait_gone(pid).await;
        }
        fs::remove_file(&file).unwrap();
    }
}

fn process_state(pid: &str) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

#[tokio::test]
async fn a_process_that_nothing_can_kill_is_failed_at_the_deadline_and_not_joined_by_a_second_one() {
    let folder = Folder::new("unkillable");
    let hung = folder.0.join("hung");
    fs::create_dir(&hung).unwrap();
    let Some(file_system) = HungFileSystem::mount(&hung) else { return };
    let file = folder.open_file("pids");
    let line = "echo $$ >> \"$0\"; exec stat \"$1\"";
    let own = settings(&["/bin/sh", "-c", line, file.to_str().unwrap(), hung.join("x").to_str().unwrap()]);
    let own = Settings { timeout: Duration::from_millis(300), interval: Duration::from_millis(200), ..own };
    let mut running = Running::start(own);
    let (at, outcome) = running.next().await;
    assert_eq!(outcome, failed("no result within 300ms"));
    assert!((300..600).contains(&at.as_millis()), "{at:?}");
    let pid = read_when_written(&file).await;
    let mut last = at;
    for _ in 0..4 {
        let (at, outcome) = running.next().await;
        assert_eq!(outcome, failed(&format!("an earlier run still hangs (process {pid})")));
        assert!(at - last < Duration::from_millis(350), "every interval counts: {last:?} {at:?}");
        last = at;
    }
    assert_eq!(process_state(&pid), 'D', "it was killed and cannot die");
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 1, "one copy");
    // The agent does not wait for it for ever.
    let began = Instant::now();
    running.scripts.stop().await;
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    drop(file_system);
    wait_gone(&pid).await;
}

#[tokio::test]
async fn a_program_on_a_file_system_that_hangs_is_failed_at_the_deadline_and_run_once_it_answers() {
    let folder = Folder::new("hung-program");
    let hung = folder.0.join("hung");
    fs::create_dir(&hung).unwrap();
    fs::copy("/bin/true", hung.join("check")).unwrap();
    let Some(file_system) = HungFileSystem::mount(&hung) else { return };
    let own = settings(&[hung.join("check").to_str().unwrap()]);
    let own = Settings { timeout: Duration::from_millis(300), interval: Duration::from_millis(200), ..own };
    let mut running = Running::start(own);
    let (at, outcome) = running.next().await;
    assert_eq!(outcome, failed("no result within 300ms"));
    assert!((300..600).contains(&at.as_millis()), "{at:?}");
    let TrackOutcome::Failed(why) = running.next().await.1 else { panic!("it passes") };
    let pid = why.strip_prefix("an earlier run still hangs (process ").and_then(|rest| rest.strip_suffix(')')).unwrap();
    assert_eq!(process_state(pid), 'D');
    drop(file_system);
    let began = Instant::now();
    while running.next().await.1 != TrackOutcome::Passed {
        assert!(began.elapsed() < 5 * SECOND, "what is under the mount never runs");
    }
    assert!(!lives(pid));
    running.scripts.stop().await;
}
