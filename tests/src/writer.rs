//! The application: it writes through the virtual address and keeps a record of every acknowledgement.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mysql::prelude::Queryable as _;

use crate::mariadb::{PASSWORD, PORT};
use crate::network::Host;

/// The pause between two writes.
const PACE: Duration = Duration::from_millis(2);
/// The limit for a connect and for an answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// A write that the server confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledgement {
    pub id: u64,
    pub sent: Instant,
    pub received: Instant,
}

/// A moment without any acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// The last acknowledgement before it.
    pub from: Instant,
    pub length: Duration,
}

#[derive(Debug, Default)]
struct Record {
    acknowledged: Vec<Acknowledgement>,
    refusals: BTreeMap<String, u32>,
}

/// One connection, one autocommit INSERT after another, never the same id twice.
#[derive(Debug)]
pub struct Writer {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Writer {
    pub fn start(client: &Host, address: Ipv4Addr) -> Result<Self> {
        let record = Arc::new(Mutex::new(Record::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, ended) = (Arc::clone(&record), Arc::clone(&stop));
        let thread = client.namespace.spawn("writer", move || write(address, &shared, &ended))?;
        Ok(Self { record, stop, thread: Some(thread) })
    }

    /// All acknowledgements so far, in their order.
    pub fn acknowledged(&self) -> Vec<Acknowledgement> {
        lock(&self.record).acknowledged.clone()
    }

    /// How many attempts failed so far, by reason.
    pub fn refusals(&self) -> BTreeMap<String, u32> {
        lock(&self.record).refusals.clone()
    }

    /// The longest time without an acknowledgement that ended after `since`, up to now.
    pub fn longest_gap(&self, since: Instant) -> Gap {
        let record = lock(&self.record);
        let first = record.acknowledged.partition_point(|acknowledgement| acknowledgement.received < since);
        let before = first.checked_sub(1).and_then(|index| record.acknowledged.get(index));
        let mut from = before.map_or(since, |acknowledgement| acknowledgement.received);
        let mut longest = Gap { from, length: Duration::ZERO };
        let later = record.acknowledged.iter().skip(first).map(|acknowledgement| acknowledgement.received);
        for received in later.chain([Instant::now()]) {
            let length = received.saturating_duration_since(from);
            if length > longest.length {
                longest = Gap { from, length };
            }
            from = received;
        }
        longest
    }

    /// Waits until `count` writes that were sent after `since` are acknowledged.
    pub fn wait_for(&self, count: usize, since: Instant, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let later = lock(&self.record).acknowledged.iter().rev().take_while(|ack| ack.sent > since).count();
            if later >= count {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{later} of {count} writes acknowledged within {timeout:?}; refused: {:?}", self.refusals());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the client and gives its record.
    pub fn stop(mut self) -> Result<Vec<Acknowledgement>> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("the client panicked"),
            }
        }
        Ok(self.acknowledged())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("lab: the client: {error:#}");
        }
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(address: Ipv4Addr, record: &Mutex<Record>, stop: &AtomicBool) {
    let options = mysql::OptsBuilder::new().ip_or_hostname(Some(address.to_string())).tcp_port(PORT);
    let options = options.user(Some("app")).pass(Some(PASSWORD)).prefer_socket(false).max_allowed_packet(Some(1 << 20));
    let limit = Some(PATIENCE);
    let options: mysql::Opts = options.tcp_connect_timeout(limit).read_timeout(limit).write_timeout(limit).into();
    let mut connection = None;
    let mut id = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let result = match connection.take() {
            None => mysql::Conn::new(options.clone()).map(|fresh| connection = Some(fresh)),
            Some(mut open) => {
                // An id that was tried once is spent: only then is a row found twice the fault of the servers.
                id += 1;
                let sent = Instant::now();
                let statement = format!("INSERT INTO shop.ledger (id, written_by) VALUES ({id}, @@server_id)");
                open.query_drop(statement).map(|()| {
                    let received = Instant::now();
                    lock(record).acknowledged.push(Acknowledgement { id, sent, received });
                    connection = Some(open);
                    std::thread::sleep(PACE.saturating_sub(sent.elapsed()));
                })
            }
        };
        if let Err(error) = result {
            *lock(record).refusals.entry(reason(&error)).or_default() += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A word for why an attempt failed.
fn reason(error: &mysql::Error) -> String {
    match error {
        mysql::Error::MySqlError(error) => format!("server error {}", error.code),
        mysql::Error::IoError(error) => error.kind().to_string(),
        mysql::Error::CodecError(_)
        | mysql::Error::DriverError(_)
        | mysql::Error::UrlError(_)
        | mysql::Error::FromValueError(_)
        | mysql::Error::FromRowError(_) => error.to_string(),
    }
}
