//! Tells others of each change of state: a command, a webhook, mail.
//!
//! Each way has a thread and a queue of its own, so that neither the election nor another way waits for one that hangs.
//! What is told over one way is told in order.

mod command;
mod mail;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use serde::Serialize;

use crate::config;
use crate::status::TransitionStatus;

/// After this long without an end a command is killed, and a connection is closed.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// So much news may wait for one way; what comes then is lost there, and counted.
const QUEUE: usize = 64;

/// One change of state, as others are told.
#[derive(Clone, Debug, Serialize)]
pub struct News {
    /// That of the status.
    pub schema: u32,
    pub node: String,
    pub virtual_router: String,
    pub vrid: u8,
    pub addresses: Vec<String>,
    #[serde(flatten)]
    pub transition: TransitionStatus,
}

/// How often a way was used, by result.
#[derive(Debug)]
pub struct Results {
    /// `command`, `webhook` or `email`.
    pub way: &'static str,
    told: AtomicU64,
    failed: AtomicU64,
}

impl Results {
    #[must_use]
    pub const fn new(way: &'static str) -> Self {
        Self { way, told: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    #[must_use]
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Including what was lost because too much waited.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// One way to tell; what goes wrong is a sentence.
trait Messenger: Send {
    fn tell(&mut self, news: &News) -> Result<(), String>;
}

/// The running ways.
#[derive(Debug)]
pub struct Notifier {
    ways: Vec<Way>,
    /// Closed when every thread has ended.
    ended: Receiver<()>,
}

#[derive(Debug)]
struct Way {
    queue: SyncSender<Arc<News>>,
    results: Arc<Results>,
}

impl Notifier {
    /// Starts a thread for each way that is configured.
    pub fn start(settings: Option<&config::Notify>, deadline: Duration) -> io::Result<Self> {
        let (end, ended) = sync_channel(0);
        let mut notifier = Self { ways: Vec::new(), ended };
        let Some(config::Notify { command, webhook, email }) = settings else { return Ok(notifier) };
        if let Some(command) = command {
            notifier.add("command", Box::new(command::Command::new(command.clone(), deadline)), end.clone())?;
        }
        if let Some(url) = webhook {
            notifier.add("webhook", Box::new(webhook::Webhook::new(url.clone(), deadline)), end.clone())?;
        }
        if let Some(email) = email {
            notifier.add("email", Box::new(mail::Mail::new(email, deadline)), end)?;
        }
        Ok(notifier)
    }

    fn add(&mut self, way: &'static str, messenger: Box<dyn Messenger>, end: SyncSender<()>) -> io::Result<()> {
        let (queue, news) = sync_channel(QUEUE);
        let results = Arc::new(Results::new(way));
        let counted = Arc::clone(&results);
        // The name of a thread has 15 bytes.
        thread::Builder::new().name("vipd-notify".to_owned()).spawn(move || {
            tell_all(messenger, &news, &counted);
            drop(end);
        })?;
        self.ways.push(Way { queue, results });
        Ok(())
    }

    /// Hands news to every way; waits for none.
    pub fn tell(&self, news: News) {
        let news = Arc::new(news);
        for Way { queue, results } in &self.ways {
            if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(Arc::clone(&news)) {
                results.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(way = results.way, "nobody is told of this change of state: too many wait before it");
            }
        }
    }

    #[must_use]
    pub fn results(&self) -> Vec<Arc<Results>> {
        self.ways.iter().map(|way| Arc::clone(&way.results)).collect()
    }

    /// Lets what waits be told, for `limit` at most.
    pub fn finish(self, limit: Duration) {
        let Self { ways, ended } = self;
        drop(ways);
        if ended.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the last changes of state were not told within {limit:?}");
        }
    }
}

fn tell_all(mut messenger: Box<dyn Messenger>, queue: &Receiver<Arc<News>>, results: &Results) {
    for news in queue {
        let begun = Instant::now();
        match messenger.tell(&news) {
            Ok(()) => {
                results.told.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(way = results.way, took = ?begun.elapsed(), "told of a change of state");
            }
            Err(why) => {
                results.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(way = results.way, why, "could not tell of a change of state");
            }
        }
    }
}
