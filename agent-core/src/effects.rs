use std::collections::VecDeque;

use crate::action::Action;
use crate::input::Ticket;

/// The actions that wait to be carried out, and the source of tickets.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    queue: VecDeque<Action>,
    last_ticket: u64,
}

impl Effects {
    pub(crate) fn push(&mut self, action: Action) {
        self.queue.push_back(action);
    }

    /// Pushes an action whose result is awaited.
    pub(crate) fn request(&mut self, action: impl FnOnce(Ticket) -> Action) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.queue.push_back(action(ticket));
        ticket
    }

    pub(crate) fn pop(&mut self) -> Option<Action> {
        self.queue.pop_front()
    }
}
