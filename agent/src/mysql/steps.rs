use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_core::{Input, Receiver, StepFailure, Writers};
use tokio::sync::{Mutex, MutexGuard, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::dialect::{self, Dialect, LockWait};
use super::replication::channels;
use super::session::{Session, text};
use super::{Command, Context, Error, Order};

/// How often an idle connection is tried, so that a takeover finds it alive.
const WARM_EVERY: Duration = Duration::from_secs(1);
/// Any single statement of a step that has nothing to wait for.
const STATEMENT: Duration = Duration::from_secs(2);
/// Between two looks at a stream that is to fall quiet.
const SETTLE_PAUSE: Duration = Duration::from_millis(2);
const DRAIN_PAUSE_MAX: Duration = Duration::from_millis(20);
/// The whole fence; the node gives up on it after 3 s.
const FENCE: Duration = Duration::from_millis(2500);
/// How long `read_only` may wait for users before their sessions are ended.
const FENCE_PATIENCE: Duration = Duration::from_millis(50);

/// How often a step that overtakes others was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    pub(super) fenced: u64,
    pub(super) resumed: u64,
}

/// Whether this server is the writer as far as the adapter knows: nothing is written otherwise.
#[derive(Debug, Default)]
pub(super) struct WriteGate {
    open: AtomicBool,
    in_flight: Mutex<()>,
}

impl WriteGate {
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    /// Held by a write for as long as it lasts; `None`: closed.
    pub(super) async fn pass(&self) -> Option<MutexGuard<'_, ()>> {
        let guard = self.in_flight.lock().await;
        self.is_open().then_some(guard)
    }
}

/// One line of steps, done in the order asked for, on a connection of its own that is kept warm.
pub(super) struct Lane {
    context: Context,
    orders: mpsc::UnboundedReceiver<Order>,
    epochs: watch::Receiver<Epochs>,
    session: Session,
}

impl Lane {
    pub(super) fn new(
        context: Context,
        orders: mpsc::UnboundedReceiver<Order>,
        epochs: watch::Receiver<Epochs>,
    ) -> Self {
        let session = Session::new(context.account.clone(), LockWait::OneSecond);
        Self { context, orders, epochs, session }
    }

    pub(super) async fn run(mut self) {
        loop {
            let order = tokio::select! {
                biased;
                order = self.orders.recv() => order,
                () = stay_warm(&mut self.session, self.context.settings.probe_timeout) => None,
            };
            match order {
                Some(order) => self.execute(order).await,
                None => return,
            }
        }
    }

    async fn execute(&mut self, order: Order) {
        let Self { context, session, epochs, .. } = self;
        let (ticket, result) = match order.command {
            Command::StopReceiving { ticket, settle } => (Some(ticket), stop_receiving(session, settle).await),
            Command::ResumeReceiving => (None, resume_receiving(session).await),
            Command::Drain { ticket } => {
                let result = tokio::select! {
                    biased;
                    by = overtaken(epochs, order.epochs, true) => Err(superseded(session, by)),
                    result = drain(session, context) => result,
                };
                (Some(ticket), result)
            }
            Command::Open { ticket } => {
                let id = session.id();
                let result = tokio::select! {
                    biased;
                    by = overtaken(epochs, order.epochs, false) => Err(superseded(session, by)),
                    result = open(session, context) => result,
                };
                if let (Err(Error::Superseded { .. }), Some(id)) = (&result, id) {
                    // What was sent must not take effect after the fence that follows.
                    match session.dialect(STATEMENT).await {
                        Ok(dialect) => kill(session, context, dialect, u64::from(id)).await,
                        Err(error) => context.note(&error),
                    }
                }
                (Some(ticket), result)
            }
            Command::Fence { ticket } => (Some(ticket), fence(session, context).await),
        };
        if let Err(error) = &result {
            context.note(error);
        }
        if let Some(ticket) = ticket {
            let result = result.map_err(|error| StepFailure(error.to_string()));
            (context.sink)(Input::Done { ticket, result });
        }
    }
}

/// Keeps the connection alive for ever.
async fn stay_warm(session: &mut Session, limit: Duration) {
    loop {
        // Probes report what is wrong with the server; here it is only tried again.
        if let Err(error) = session.warm(limit).await {
            tracing::trace!(%error, "no connection in reserve");
        }
        sleep(WARM_EVERY).await;
    }
}

async fn overtaken(epochs: &mut watch::Receiver<Epochs>, since: Epochs, by_resume: bool) -> &'static str {
    let later = |now: &Epochs| now.fenced != since.fenced || (by_resume && now.resumed != since.resumed);
    match epochs.wait_for(later).await {
        Ok(now) if now.fenced != since.fenced => "a fence",
        Ok(_) => "to receive again",
        Err(_) => "the end",
    }
}

fn superseded(session: &Session, by: &'static str) -> Error {
    Error::Superseded { server: session.account().server.clone(), by }
}

async fn stop_receiving(session: &mut Session, settle: Option<Duration>) -> Result<(), Error> {
    let dialect = session.warm(STATEMENT).await?;
    let mut now = channels(session, STATEMENT).await?;
    if let Some(settle) = settle {
        let started = Instant::now();
        let mut quiet = 0;
        // A source that is gone sends nothing more.
        while quiet < 2
            && started.elapsed() < settle
            && now.iter().any(|channel| channel.receiver == Receiver::Connected)
        {
            sleep(SETTLE_PAUSE).await;
            let next = channels(session, STATEMENT).await?;
            let same = next.iter().map(|channel| channel.received()).eq(now.iter().map(|channel| channel.received()));
            quiet = if same { quiet + 1 } else { 0 };
            now = next;
        }
    }
    for channel in now.iter().filter(|channel| channel.receiver != Receiver::Stopped) {
        session.run(&dialect.stop_receiver(&channel.name), STATEMENT).await?;
    }
    Ok(())
}

async fn resume_receiving(session: &mut Session) -> Result<(), Error> {
    let dialect = session.warm(STATEMENT).await?;
    for channel in channels(session, STATEMENT).await? {
        if channel.receiver != Receiver::Stopped || stays_stopped(channel.receiver_errno) {
            continue;
        }
        // In GTID mode MariaDB throws the relay log away when the first of two stopped threads starts.
        if !channel.applying && channel.missing(session, STATEMENT).await?.is_some() {
            return Err(Error::BothStopped {
                server: session.account().server.clone(),
                channel: channel.name,
                error: channel.error.unwrap_or_else(|| "no error".to_owned()),
            });
        }
        session.run(&dialect.start_receiver(&channel.name), STATEMENT).await?;
    }
    Ok(())
}

/// Whether a receiver stopped for a reason that starting it again does not remove.
///
/// What a client library reports (2000 to 2999) is the source's absence; so are the network errors 1158 to 1161, a source
/// that shuts down (1053) and one with too many connections (1040). All else, above all 1236, is a refusal.
const fn stays_stopped(errno: u32) -> bool {
    !matches!(errno, 0 | 1040 | 1053 | 1158..=1161 | 2000..=2999)
}

async fn drain(session: &mut Session, context: &Context) -> Result<(), Error> {
    let limit = context.settings.drain_timeout;
    session.warm(STATEMENT).await?;
    let mut pause = Duration::from_millis(1);
    let mut last: Option<String> = None;
    let mut moved_at = Instant::now();
    loop {
        let mut waits_for = None;
        for channel in channels(session, STATEMENT).await? {
            let Some(missing) = channel.missing(session, STATEMENT).await? else { continue };
            let server = session.account().server.clone();
            if !channel.applying {
                let error = channel.error.clone().unwrap_or_else(|| "no error".to_owned());
                return Err(Error::ApplierStopped { server, channel: channel.name.clone(), error });
            }
            let progress = format!("{} {missing} {}", channel.name, applied(session).await?);
            if last.as_ref() != Some(&progress) {
                last = Some(progress);
                moved_at = Instant::now();
            } else if moved_at.elapsed() >= limit {
                return Err(Error::NoProgress { server, channel: channel.name.clone(), limit, missing });
            }
            waits_for = Some(missing);
            break;
        }
        if waits_for.is_none() {
            return Ok(());
        }
        sleep(pause).await;
        pause = (pause * 2).min(DRAIN_PAUSE_MAX);
    }
}

/// Something that changes with each transaction that is applied.
async fn applied(session: &mut Session) -> Result<String, Error> {
    let dialect = session.dialect(STATEMENT).await?;
    Ok(session.scalar(dialect.applied_gtids(), STATEMENT).await?.unwrap_or_default())
}

async fn open(session: &mut Session, context: &Context) -> Result<(), Error> {
    let dialect = session.warm(STATEMENT).await?;
    if context.settings.writers == Writers::Active {
        for statement in dialect.open() {
            session.run(statement, STATEMENT).await?;
        }
    }
    let probe = dialect.write_probe();
    let mut written = session.run(probe, STATEMENT).await;
    // 1049: no such database; 1146: no such table.
    if written.as_ref().is_err_and(|error| matches!(error.code(), Some(1049 | 1146))) {
        for statement in [dialect::CREATE_SCHEMA, dialect::CREATE_PROBE] {
            session.run(statement, STATEMENT).await?;
        }
        written = session.run(probe, STATEMENT).await;
    }
    if written? == 0 {
        return Err(Error::StillReadOnly { server: session.account().server.clone() });
    }
    context.write_gate.open.store(true, Ordering::SeqCst);
    Ok(())
}

async fn fence(session: &mut Session, context: &Context) -> Result<(), Error> {
    let started = Instant::now();
    let left = || FENCE.saturating_sub(started.elapsed()).max(Duration::from_millis(50));
    context.write_gate.close();
    // A write of our own on its way is waited for; a stuck one is held up by read_only like any other.
    drop(timeout(FENCE_PATIENCE, context.write_gate.in_flight.lock()).await);
    let dialect = session.warm(left()).await?;
    let spared = spared_users(session, context, dialect).await;
    let mut patience = FENCE_PATIENCE;
    loop {
        // The server ends the statement itself; if even that does not happen the connection is given up.
        let answer_within = (patience + Duration::from_millis(1200)).min(left());
        match session.run(&dialect.fence(patience), answer_within).await {
            Ok(_) => break,
            Err(error) if started.elapsed() >= FENCE => return Err(error),
            Err(error) => {
                context.note(&error);
                end_sessions(session, context, dialect, &spared, left()).await?;
                sleep(SETTLE_PAUSE).await;
                patience *= 2;
            }
        }
    }
    // Once read-only, those that are left over can do no harm but hold their clients.
    while end_sessions(session, context, dialect, &spared, left()).await? > 0 && started.elapsed() < FENCE {
        sleep(SETTLE_PAUSE).await;
    }
    Ok(())
}

/// Whose sessions are not ended: vipd's own account, and those of replication.
///
/// A receiver that has logged in and not asked for the binary log yet looks like anybody; its account is known because the
/// two servers replicate to each other, usually by the same one. Killed at that moment it gives up for good (MariaDB's error 1595).
async fn spared_users(session: &mut Session, context: &Context, dialect: Dialect) -> Vec<String> {
    let mut users = vec![context.account.user.clone()];
    match session.query(dialect.replication_status(), STATEMENT).await {
        Ok(rows) => users.extend(rows.iter().filter_map(|row| text(row, &["Source_User", "Master_User"]))),
        Err(error) => context.note(&error),
    }
    users
}

/// Ends all sessions of users once, and says how many there were.
async fn end_sessions(
    session: &mut Session,
    context: &Context,
    dialect: Dialect,
    spared: &[String],
    limit: Duration,
) -> Result<usize, Error> {
    let rows = session.query(dialect::SESSIONS, limit).await?;
    let victims: Vec<u64> = rows
        .iter()
        .filter(|row| {
            let user = text(row, &["User"]).unwrap_or_default();
            let command = text(row, &["Command"]).unwrap_or_default();
            is_user(&user, &command, spared)
        })
        .filter_map(|row| text(row, &["Id"])?.parse().ok())
        .collect();
    for id in &victims {
        kill(session, context, dialect, *id).await;
    }
    Ok(victims.len())
}

/// Whether a session is one of a client: not replication, not the server's own, not one that is spared.
fn is_user(user: &str, command: &str, spared: &[String]) -> bool {
    let internal = ["system user", "event_scheduler", "unauthenticated user"];
    !(internal.contains(&user)
        || spared.iter().any(|spared| spared == user)
        || command.starts_with("Binlog Dump")
        || matches!(command, "Daemon" | "Killed"))
}

async fn kill(session: &mut Session, context: &Context, dialect: Dialect, id: u64) {
    match session.run(&dialect.kill(id), STATEMENT).await {
        Ok(_) => {}
        // 1094: it is gone already.
        Err(error) if error.code() == Some(1094) => {}
        Err(error) => context.note(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_and_own_sessions_are_spared() {
        let spared = ["vipd", "repl"].map(str::to_owned);
        assert!(is_user("app", "Sleep", &spared));
        assert!(is_user("root", "Query", &spared));
        assert!(!is_user("repl", "Query", &spared), "about to ask for the binary log");
        assert!(!is_user("other", "Binlog Dump", &spared));
        assert!(!is_user("repl", "Binlog Dump GTID", &spared));
        assert!(!is_user("system user", "Slave_SQL", &spared));
        assert!(!is_user("event_scheduler", "Daemon", &spared));
        assert!(!is_user("vipd", "Query", &spared));
        assert!(!is_user("app", "Killed", &spared));
    }
}
