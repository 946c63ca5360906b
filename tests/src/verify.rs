//! The verdict on the rows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::mariadb::Mariadb;
use crate::writer::Acknowledgement;

/// What both servers hold after the heal.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Verdict {
    /// Writes that the client saw acknowledged.
    pub acknowledged: usize,
    /// Rows on each server; those beyond the acknowledged are writes whose answer was lost on the way.
    pub rows: usize,
}

/// Waits until both servers hold the same rows, replicate from each other without an error, and lack nothing.
pub fn rows(servers: &[Mariadb; 2], acknowledged: &[Acknowledgement], timeout: Duration) -> Result<Verdict> {
    let deadline = Instant::now() + timeout;
    loop {
        match compare(servers, acknowledged) {
            Ok(verdict) => return Ok(verdict),
            Err(failure) if Instant::now() >= deadline => return Err(failure),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn compare(servers: &[Mariadb; 2], acknowledged: &[Acknowledgement]) -> Result<Verdict> {
    let mut rows = Vec::new();
    for server in servers {
        let name = &server.host().name;
        let replication = server.replication()?;
        if !replication.receiving || !replication.applying || !replication.error.is_empty() {
            bail!("replication to {name} does not run: {replication:?}");
        }
        let found: Vec<u64> = server.query("SELECT id FROM shop.ledger")?;
        let unique: BTreeSet<u64> = found.iter().copied().collect();
        if unique.len() != found.len() {
            bail!("{name} holds {} rows but only {} different ids", found.len(), unique.len());
        }
        let missing: Vec<u64> =
            acknowledged.iter().map(|acknowledgement| acknowledgement.id).filter(|id| !unique.contains(id)).collect();
        if !missing.is_empty() {
            bail!("{name} lacks {} of {} acknowledged rows: {missing:?}", missing.len(), acknowledged.len());
        }
        rows.push(unique);
    }
    match rows.as_slice() {
        [one, other] if one == other => Ok(Verdict { acknowledged: acknowledged.len(), rows: one.len() }),
        rows => {
            let counts: Vec<usize> = rows.iter().map(BTreeSet::len).collect();
            bail!("the servers hold different rows: {counts:?}")
        }
    }
}
