//! Runs the scripts that priorities depend on, and tells the core of each result.
//!
//! Each script has a thread of its own that starts it and waits for it, so that nothing else waits where it hangs. The
//! verdict is due at the deadline, whatever has become of the process.

mod account;
mod launch;
mod process;

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_core::{Input, TrackId, TrackOutcome};
use nix::sys::signal::Signal;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use self::account::{Account, Error};
pub use self::launch::launch;
use self::process::{Run, Runner};
use crate::config::duration;

/// What is kept of the output of a run, in bytes; the rest is read and thrown away.
const MAX_OUTPUT: usize = 4096;
/// How long killed processes are waited for when the agent ends.
const END_DEADLINE: Duration = Duration::from_secs(1);

/// One script, as it is run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub track: TrackId,
    pub name: String,
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<String>,
    pub account: Account,
    /// From the start of a run to the start of the next.
    pub interval: Duration,
    pub timeout: Duration,
}

/// How often a script was run, by result.
#[derive(Debug, Default)]
pub struct Counts {
    pub name: String,
    passed: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Including those that could not be started.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// The running scripts; their processes are killed when it is dropped.
#[derive(Debug)]
pub struct Scripts {
    tasks: JoinSet<()>,
    runners: Vec<Arc<Runner>>,
    counts: Vec<Arc<Counts>>,
}

impl Scripts {
    /// Starts to run the scripts, on the tokio runtime of the caller; `sink` must not block, and `launcher` is `vipd`.
    pub fn start(
        scripts: Vec<Settings>,
        launcher: &Path,
        sink: impl Fn(Input) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let mut started = Self { tasks: JoinSet::new(), runners: Vec::new(), counts: Vec::new() };
        for settings in scripts {
            let runner = Arc::new(Runner::start(&settings, launcher)?);
            let counts = Arc::new(Counts::new(&settings.name));
            started.runners.push(Arc::clone(&runner));
            started.counts.push(Arc::clone(&counts));
            let watch = Watch { settings, runner, counts, last: None, hanging: None };
            started.tasks.spawn(watch.run(sink.clone()));
        }
        Ok(started)
    }

    #[must_use]
    pub fn counts(&self) -> Vec<Arc<Counts>> {
        self.counts.clone()
    }

    /// Kills what runs and waits for it, for a second at most.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.kill();
        let ended = async {
            while self.runners.iter().any(|runner| runner.is_busy()) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(END_DEADLINE, ended).await.is_err() {
            let pids: Vec<_> = self.runners.iter().filter_map(|runner| runner.pid()).collect();
            tracing::warn!(?pids, "killed scripts have not ended; they do as soon as the kernel lets them");
        }
    }

    fn kill(&self) {
        for runner in &self.runners {
            runner.close();
        }
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The way of one script from run to run.
struct Watch {
    settings: Settings,
    runner: Arc<Runner>,
    counts: Arc<Counts>,
    /// What was told last; `None`: nothing yet.
    last: Option<TrackOutcome>,
    /// A run that was given up and whose process has not ended.
    hanging: Option<oneshot::Receiver<Result<ExitStatus, String>>>,
}

impl Watch {
    async fn run(mut self, sink: impl Fn(Input)) {
        let mut start_at = Instant::now();
        loop {
            sleep_until(start_at).await;
            start_at += self.settings.interval;
            let (outcome, output) = self.turn().await;
            self.note(&outcome, &output);
            sink(Input::Track { track: self.settings.track, outcome: outcome.clone() });
            self.last = Some(outcome);
            // What was missed is not made up for.
            start_at = start_at.max(Instant::now());
        }
    }

    async fn turn(&mut self) -> (TrackOutcome, String) {
        let deadline = Instant::now() + self.settings.timeout;
        if let Some(run) = &mut self.hanging {
            if run.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                let process = self.runner.pid().map_or("its start".to_owned(), |pid| format!("process {pid}"));
                return (TrackOutcome::Failed(format!("an earlier run still hangs ({process})")), String::new());
            }
            self.hanging = None;
        }
        let failed = |error: &dyn std::error::Error| {
            (TrackOutcome::Failed(format!("cannot be started: {error}")), String::new())
        };
        let (sender, receiver) = match pipe::pipe() {
            Ok(ends) => ends,
            Err(error) => return failed(&error),
        };
        let (result, mut ended) = oneshot::channel();
        let begun = sender.into_blocking_fd().and_then(|output| self.runner.begin(Run { output, result }));
        if let Err(error) = begun {
            return failed(&error);
        }
        let mut output = Output { receiver, kept: Vec::new() };
        let outcome = tokio::select! {
            biased;
            result = &mut ended => match result {
                Ok(Ok(status)) => judge(status),
                Ok(Err(why)) => TrackOutcome::Failed(why),
                Err(_) => TrackOutcome::Failed("its thread has ended".to_owned()),
            },
            () = output.read() => TrackOutcome::Failed("its output was lost".to_owned()),
            () = sleep_until(deadline) => {
                self.runner.kill();
                self.hanging = Some(ended);
                TrackOutcome::Failed(format!("no result within {}", duration::display(self.settings.timeout)))
            }
        };
        (outcome, output.finish())
    }

    /// Counts, and tells people of what is new.
    fn note(&self, outcome: &TrackOutcome, output: &str) {
        let script = self.settings.name.as_str();
        let count = match outcome {
            TrackOutcome::Passed => &self.counts.passed,
            TrackOutcome::Failed(_) => &self.counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let known = self.last.as_ref() == Some(outcome);
        match outcome {
            TrackOutcome::Failed(why) if !known => tracing::warn!(script, why, output, "a script has failed"),
            TrackOutcome::Passed if !known && self.last.is_some() => tracing::info!(script, "a script passes again"),
            TrackOutcome::Passed | TrackOutcome::Failed(_) => {
                tracing::debug!(script, ?outcome, output, "a script was run")
            }
        }
    }
}

fn judge(status: ExitStatus) -> TrackOutcome {
    use std::os::unix::process::ExitStatusExt;
    if status.success() {
        return TrackOutcome::Passed;
    }
    TrackOutcome::Failed(match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("ended by {signal}"),
            Err(_) => format!("ended by signal {number}"),
        },
        (None, None) => "no exit status".to_owned(),
    })
}

/// What a run says.
struct Output {
    receiver: pipe::Receiver,
    kept: Vec<u8>,
}

impl Output {
    /// Reads for ever; safe to cancel.
    async fn read(&mut self) {
        loop {
            if self.receiver.readable().await.is_err() || self.read_what_is_there() {
                // Whoever closes its output may still run.
                std::future::pending::<()>().await;
            }
        }
    }

    /// `true`: nothing more will come.
    fn read_what_is_there(&mut self) -> bool {
        let mut buffer = [0; MAX_OUTPUT];
        // A process that writes without end must not keep the runtime here.
        for _ in 0..16 {
            match self.receiver.try_read(&mut buffer) {
                Ok(0) => return true,
                Ok(length) => {
                    let room = MAX_OUTPUT - self.kept.len();
                    self.kept.extend(buffer.iter().take(length.min(room)));
                }
                Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
            }
        }
        false
    }

    fn finish(mut self) -> String {
        self.read_what_is_there();
        String::from_utf8_lossy(&self.kept).trim_end().escape_debug().to_string()
    }
}
