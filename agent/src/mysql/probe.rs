use std::sync::Arc;

use agent_core::{Doubt, Fault, Probe, ProbeOutcome, ServerReport};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::dialect::{self, LockWait};
use super::session::{Session, text};
use super::{Context, Error};

/// After this many failed pings in a row nothing is written any more until the server is opened again.
const SUSPECT_AFTER: u32 = 2;

/// Asks on the connection that is kept.
pub(super) async fn ping(context: Context) {
    let limit = context.settings.probe_timeout;
    let mut session = Session::new(context.account.clone(), LockWait::OneSecond);
    let mut failed = 0;
    loop {
        let started = Instant::now();
        let result = session.run(dialect::PING, limit).await;
        context.probe_times.note(Probe::Ping, started.elapsed());
        if result.is_err() {
            session.forget();
        }
        let outcome = outcome_of(&context, result);
        failed = if matches!(outcome, ProbeOutcome::Failed(_)) { failed + 1 } else { 0 };
        if failed >= SUSPECT_AFTER {
            context.write_gate.close();
        }
        context.report(ServerReport::Probe { kind: Probe::Ping, outcome });
        sleep_until(started + context.settings.probe_interval).await;
    }
}

/// Makes a fresh connection, logs in and leaves; `wanted` hears of each success.
pub(super) async fn connect(context: Context, wanted: Arc<Notify>) {
    let limit = context.settings.probe_timeout;
    loop {
        let started = Instant::now();
        let result = context.account.connect(limit).await;
        context.probe_times.note(Probe::Connect, started.elapsed());
        let (result, conn) = match result {
            Ok(conn) => (Ok(()), Some(conn)),
            Err(error) => (Err(error), None),
        };
        let outcome = outcome_of(&context, result);
        context.report(ServerReport::Probe { kind: Probe::Connect, outcome });
        if let Some(conn) = conn {
            wanted.notify_one();
            // A polite end keeps the server's log of aborted clients clean; how it ends is no news.
            if let Ok(Err(error)) = timeout(limit, conn.disconnect()).await {
                tracing::trace!(%error, "the probe's connection was not closed in order");
            }
        }
        sleep_until(started + context.settings.probe_interval).await;
    }
}

/// Commits in vipd's own table while this server is the writer.
pub(super) async fn write(context: Context) {
    let limit = context.settings.probe_timeout;
    let mut session = Session::new(context.account.clone(), LockWait::Shortest);
    let mut observer = Session::new(context.account.clone(), LockWait::OneSecond);
    loop {
        let started = Instant::now();
        let in_flight = context.write_gate.pass().await;
        if in_flight.is_some() {
            let begun = Instant::now();
            let result = commit(&mut session, &mut observer, &context).await;
            context.probe_times.note(Probe::Write, begun.elapsed());
            drop(in_flight);
            // What is learned after the gate was closed is of a server that is no writer any more.
            if context.write_gate.is_open() {
                context.report(ServerReport::Probe { kind: Probe::Write, outcome: result });
            }
        } else if let Err(error) = session.dialect(limit).await {
            context.note(&error);
        }
        sleep_until(started + context.settings.probe_interval).await;
    }
}

async fn commit(session: &mut Session, observer: &mut Session, context: &Context) -> ProbeOutcome {
    let limit = context.settings.probe_timeout;
    let dialect = match session.dialect(limit).await {
        Ok(dialect) => dialect,
        Err(error) => return outcome_of::<()>(context, Err(error)),
    };
    let id = session.id();
    match session.run(dialect.write_probe(), limit).await {
        Ok(0) => ProbeOutcome::Inconclusive(Doubt::ReadOnly),
        Ok(_) => ProbeOutcome::Passed,
        Err(error @ Error::TimedOut { .. }) => {
            context.note(&error);
            match id {
                Some(id) => explain_wait(observer, id, context).await,
                None => ProbeOutcome::Failed(Fault::CannotCommit),
            }
        }
        Err(error) => outcome_of::<()>(context, Err(error)),
    }
}

/// A commit that waits for somebody's lock, or for the peer to acknowledge it, is no fault of this server.
async fn explain_wait(observer: &mut Session, id: u32, context: &Context) -> ProbeOutcome {
    let limit = context.settings.probe_timeout;
    let Ok(dialect) = observer.warm(limit).await else { return ProbeOutcome::Failed(Fault::TimedOut) };
    let Ok(sessions) = observer.query(dialect::SESSIONS, limit).await else {
        return ProbeOutcome::Failed(Fault::TimedOut);
    };
    let state = sessions
        .iter()
        .find(|row| text(row, &["Id"]).as_deref() == Some(id.to_string().as_str()))
        .and_then(|row| text(row, &["State"]))
        .unwrap_or_default()
        .to_lowercase();
    // Nobody reads the answer any more, and waiting sessions must not pile up.
    if let Err(error) = observer.run(&dialect.kill(u64::from(id)), limit).await {
        context.note(&error);
    }
    if state.contains("semi-sync ack") {
        ProbeOutcome::Inconclusive(Doubt::OtherError)
    } else if state.contains("waiting for") && state.contains("lock") {
        ProbeOutcome::Inconclusive(Doubt::ReadOnly)
    } else {
        ProbeOutcome::Failed(Fault::CannotCommit)
    }
}

fn outcome_of<T>(context: &Context, result: Result<T, Error>) -> ProbeOutcome {
    match result {
        Ok(_) => ProbeOutcome::Passed,
        Err(error) => {
            context.note(&error);
            error.outcome()
        }
    }
}
