//! A mail for each change of state, as keepalived's `notification_email` sends it.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, SmtpTransport, Transport};

use super::{Messenger, News};
use crate::causes::chain;
use crate::config;

pub(super) struct Mail {
    settings: config::Email,
    deadline: Duration,
}

impl Mail {
    pub(super) fn new(settings: &config::Email, deadline: Duration) -> Self {
        Self { settings: settings.clone(), deadline }
    }

    fn message(&self, news: &News) -> Result<Message, String> {
        let News { node, virtual_router, transition, .. } = news;
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|error| format!("{text}: {error}"));
        let mut message = Message::builder().from(mailbox(&self.settings.from)?).subject(format!(
            "vipd on {node}: {virtual_router} is {}, was {} ({})",
            transition.to, transition.from, transition.reason
        ));
        for to in &self.settings.to {
            message = message.to(mailbox(to)?);
        }
        let details = serde_json::to_string_pretty(news).map_err(|error| error.to_string())?;
        let text = format!(
            "{}: virtual router {virtual_router} on {node} is {}: {}.\n\n{details}\n",
            transition.at, transition.to, transition.reason_text
        );
        message.body(text).map_err(|error| chain(&error))
    }
}

impl Messenger for Mail {
    fn tell(&mut self, news: &News) -> Result<(), String> {
        let message = self.message(news)?;
        let (host, port) = self.settings.server();
        // As a mail server of one's own expects it; the network of the servers is trusted with this much.
        let transport = SmtpTransport::builder_dangerous(host)
            .port(port)
            .hello_name(ClientId::Domain(news.node.clone()))
            .timeout(Some(self.deadline))
            .build();
        transport.send(&message).map(drop).map_err(|error| format!("{}: {}", self.settings.smtp, chain(&error)))
    }
}
