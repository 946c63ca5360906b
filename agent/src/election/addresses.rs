//! Changes of addresses, carried out one after the other.

use agent_core::{Input, StepFailure, Ticket};
use tokio::sync::mpsc;

use super::Event;
use crate::causes::chain;
use crate::vip::{Vip, Vips};

pub(super) struct VipQueue {
    jobs: mpsc::UnboundedSender<VipJob>,
    pub(super) done: mpsc::UnboundedReceiver<Input>,
}

pub(super) enum VipJob {
    Add(Ticket, Vec<Vip>),
    Renew(Vec<Vip>),
    Remove(Ticket, Vec<Vip>),
}

impl VipQueue {
    pub(super) fn start(vips: Vips, events: mpsc::UnboundedSender<Event>) -> Self {
        let (jobs, mut todo) = mpsc::unbounded_channel();
        let (finished, done) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Some(job) = todo.recv().await {
                let (ticket, result) = match job {
                    VipJob::Add(ticket, addresses) => (Some(ticket), vips.add(&addresses).await),
                    VipJob::Renew(addresses) => (None, vips.renew(&addresses).await),
                    VipJob::Remove(ticket, addresses) => (Some(ticket), vips.remove(&addresses).await),
                };
                let result = result.map_err(|error| StepFailure(chain(&error)));
                match (ticket, result) {
                    (Some(ticket), result) => {
                        if finished.send(Input::Done { ticket, result }).is_err() {
                            return;
                        }
                    }
                    (None, Err(failure)) => {
                        // Nobody listens once the agent ends.
                        drop(events.send(Event::Trouble(format!("addresses were not renewed: {}", failure.0))));
                    }
                    (None, Ok(())) => {}
                }
            }
        });
        Self { jobs, done }
    }

    pub(super) fn request(&self, job: VipJob) {
        // The task lives as long as its runtime, which this runs on.
        drop(self.jobs.send(job));
    }
}
