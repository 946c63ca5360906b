//! An HTTP request with the news as its body.

use std::time::Duration;

use super::{Messenger, News};
use crate::causes::chain;

pub(super) struct Webhook {
    url: String,
    agent: ureq::Agent,
}

impl Webhook {
    pub(super) fn new(url: String, deadline: Duration) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(deadline)).build();
        Self { url, agent: config.into() }
    }
}

impl Messenger for Webhook {
    fn tell(&mut self, news: &News) -> Result<(), String> {
        let body = serde_json::to_vec(news).map_err(|error| error.to_string())?;
        let request = self.agent.post(&self.url).content_type("application/json");
        // The address may hold a secret of the receiver's: it is not repeated.
        request.send(&body[..]).map(drop).map_err(|error| chain(&error))
    }
}
