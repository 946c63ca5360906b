use agent_core::{ServerReport, Standing};
use tokio::time::{Instant, sleep_until};

use super::dialect::LockWait;
use super::replication::{channels, summary};
use super::session::Session;
use super::{Context, Error};

/// Asks for the role of the server again and again, every second probe interval.
pub(super) async fn watch(context: Context) {
    let mut session = Session::new(context.account.clone(), LockWait::OneSecond);
    loop {
        let started = Instant::now();
        match read(&mut session, &context).await {
            Ok(standing) => {
                let version = session.version().map(|(dialect, version)| (dialect.flavour, version.to_owned()));
                context.facts.send_if_modified(|facts| {
                    let before = facts.clone();
                    if let Some((flavour, version)) = version {
                        facts.flavour = Some(flavour);
                        facts.server_version = Some(version);
                    }
                    facts.standing = Some(standing.clone());
                    *facts != before
                });
                context.report(ServerReport::Standing(standing));
            }
            Err(error) => {
                context.note(&error);
                session.forget();
            }
        }
        sleep_until(started + context.settings.probe_interval * 2).await;
    }
}

async fn read(session: &mut Session, context: &Context) -> Result<Standing, Error> {
    let limit = context.settings.probe_timeout;
    let dialect = session.dialect(limit).await?;
    let read_only = session.scalar(dialect.is_read_only(), limit).await?;
    let replication = summary(&channels(session, limit).await?);
    Ok(Standing { writable: read_only.as_deref() == Some("0"), replication })
}
