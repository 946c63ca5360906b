//! What the BPF programs write into their log, when they were built with one, into the agent's.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::task::JoinHandle;

use super::Error;
use crate::readiness::Readiness;

/// Passes the messages on until it is dropped.
#[derive(Debug)]
pub(super) struct KernelLog(JoinHandle<()>);

impl KernelLog {
    /// `None`: the programs were built without a log.
    pub(super) fn follow(object: &mut Ebpf) -> Result<Option<Self>, Error> {
        let failed = |error: io::Error| Error::program("watch", "the log of the BPF programs", error);
        let mut logger = match EbpfLogger::init_with_logger(object, ToTracing) {
            Ok(logger) => logger,
            Err(aya_log::Error::MapNotFound) => return Ok(None),
            Err(error) => return Err(Error::program("read", "the log of the BPF programs", error)),
        };
        let readiness = Readiness::of(&logger).map_err(failed)?;
        let task = tokio::spawn(async move {
            let ended = readiness.read(|| {
                logger.flush();
                Err::<(), _>(io::ErrorKind::WouldBlock.into())
            });
            if let Err(error) = ended.await {
                tracing::warn!(%error, "the log of the BPF programs is not followed any more");
            }
        });
        Ok(Some(Self(task)))
    }
}

impl Drop for KernelLog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Everything goes out at debug: a packet is no event of its own for whoever runs the agent.
struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        tracing::debug!(target: "vipd::bpf", "{}", record.args());
    }

    fn flush(&self) {}
}
