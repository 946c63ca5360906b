//! The local MySQL or MariaDB server: probes, its process, its standing, and the steps of a takeover.

pub mod dialect;
mod error;
pub mod grants;
pub mod inspection;
mod probe;
mod process;
mod replication;
mod session;
mod standing;
mod steps;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_core::{Input, Probe, ServerReport, Standing, Ticket, Writers};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use dialect::Flavour;
pub use error::Error;

use crate::secret::Secret;
use crate::times::Times;
use session::Account;
use steps::{Epochs, Lane, WriteGate};

/// How the server is reached, and how it is judged.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    pub endpoint: Endpoint,
    pub user: String,
    pub password: Secret,
    /// From the start of one probe to the start of the next of its kind.
    pub probe_interval: Duration,
    /// After this long without an answer a probe has failed and its connection is dropped.
    pub probe_timeout: Duration,
    /// Whether a commit is tried while this server is the writer.
    pub write_probe: bool,
    pub writers: Writers,
    /// A drain without any progress for this long has failed.
    pub drain_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// A step for the server; each but the last comes back as [`Input::Done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Receives nothing more; with `settle` not before the stream is quiet, at most this long.
    StopReceiving { ticket: Ticket, settle: Option<Duration> },
    /// Ends when all that was received is applied; a later `Fence` or `ResumeReceiving` ends it in failure.
    Drain { ticket: Ticket },
    /// Makes the server writable and proves it with a commit; a later `Fence` ends it in failure.
    Open { ticket: Ticket },
    /// Makes the server read-only and ends the sessions of its users.
    Fence { ticket: Ticket },
    /// Receives again.
    ResumeReceiving,
}

/// What is known of the server, for the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    pub flavour: Option<Flavour>,
    pub server_version: Option<String>,
    /// Its process, where it can be seen from here.
    pub pid: Option<i32>,
    /// What it said last of its role.
    pub standing: Option<Standing>,
    /// The last thing that went wrong; for people.
    pub last_error: Option<String>,
}

/// How long the probes took, whatever their outcome.
#[derive(Clone, Debug, Default)]
pub struct ProbeTimes(Arc<Mutex<[Times; 3]>>);

impl ProbeTimes {
    fn note(&self, kind: Probe, time: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [ping, connect, write] = &mut *times;
        match kind {
            Probe::Ping => ping.note(time),
            Probe::Connect => connect.note(time),
            Probe::Write => write.note(time),
        }
    }

    /// By the name of the probe.
    #[must_use]
    pub fn by_kind(&self) -> [(&'static str, Times); 3] {
        let [ping, connect, write] = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [("ping", ping), ("connect", connect), ("write", write)]
    }
}

/// Where news of the server goes; it must not block.
type Sink = Arc<dyn Fn(Input) + Send + Sync>;

/// What every task of the adapter shares.
#[derive(Clone)]
struct Context {
    settings: Arc<ServerSettings>,
    account: Arc<Account>,
    sink: Sink,
    facts: watch::Sender<ServerFacts>,
    write_gate: Arc<WriteGate>,
    probe_times: ProbeTimes,
}

impl Context {
    fn report(&self, report: ServerReport) {
        (self.sink)(Input::Server(report));
    }

    fn note(&self, error: &dyn std::error::Error) {
        let text = error.to_string();
        self.facts.send_if_modified(|facts| {
            let news = facts.last_error.as_ref() != Some(&text);
            if news {
                tracing::debug!(error = %text, "the server could not do what was asked");
                facts.last_error = Some(text);
            }
            news
        });
    }
}

/// The running adapter; its tasks end when it is dropped.
#[derive(Debug)]
pub struct Server {
    commands: Commands,
    facts: watch::Receiver<ServerFacts>,
    probe_times: ProbeTimes,
    _tasks: JoinSet<()>,
}

/// The way in for steps; it never blocks and can be used on any thread.
#[derive(Clone, Debug)]
pub struct Commands {
    receiver: mpsc::UnboundedSender<Order>,
    drain: mpsc::UnboundedSender<Order>,
    role: mpsc::UnboundedSender<Order>,
    epochs: watch::Sender<Epochs>,
}

/// A command, and what had been asked before it.
#[derive(Clone, Copy, Debug)]
struct Order {
    command: Command,
    epochs: Epochs,
}

impl Server {
    /// Starts to watch the server, on the tokio runtime of the caller.
    pub fn start(settings: ServerSettings, sink: impl Fn(Input) + Send + Sync + 'static) -> Self {
        let (facts, facts_out) = watch::channel(ServerFacts::default());
        let context = Context {
            account: Arc::new(Account::new(&settings)),
            settings: Arc::new(settings),
            sink: Arc::new(sink),
            facts,
            write_gate: Arc::default(),
            probe_times: ProbeTimes::default(),
        };
        let probe_times = context.probe_times.clone();
        let (epochs, epochs_out) = watch::channel(Epochs::default());
        let mut tasks = JoinSet::new();
        let mut lane = || {
            let (orders, orders_out) = mpsc::unbounded_channel();
            tasks.spawn(Lane::new(context.clone(), orders_out, epochs_out.clone()).run());
            orders
        };
        let (receiver, drain, role) = (lane(), lane(), lane());
        let commands = Commands { receiver, drain, role, epochs };
        let wanted = Arc::new(tokio::sync::Notify::new());
        tasks.spawn(process::watch(context.clone(), Arc::clone(&wanted)));
        tasks.spawn(probe::ping(context.clone()));
        tasks.spawn(probe::connect(context.clone(), wanted));
        if context.settings.write_probe {
            tasks.spawn(probe::write(context.clone()));
        }
        tasks.spawn(standing::watch(context));
        Self { commands, facts: facts_out, probe_times, _tasks: tasks }
    }

    #[must_use]
    pub fn commands(&self) -> Commands {
        self.commands.clone()
    }

    #[must_use]
    pub fn facts(&self) -> watch::Receiver<ServerFacts> {
        self.facts.clone()
    }

    #[must_use]
    pub fn probe_times(&self) -> ProbeTimes {
        self.probe_times.clone()
    }
}

impl Commands {
    /// Asks for a step; after the end of the [`Server`] nothing happens.
    pub fn send(&self, command: Command) {
        let lane = match command {
            Command::StopReceiving { .. } => &self.receiver,
            Command::ResumeReceiving => {
                self.epochs.send_modify(|epochs| epochs.resumed += 1);
                &self.receiver
            }
            Command::Drain { .. } => &self.drain,
            Command::Open { .. } => &self.role,
            Command::Fence { .. } => {
                self.epochs.send_modify(|epochs| epochs.fenced += 1);
                &self.role
            }
        };
        let order = Order { command, epochs: *self.epochs.borrow() };
        if lane.send(order).is_err() {
            tracing::debug!(?command, "the server is no longer watched");
        }
    }
}
