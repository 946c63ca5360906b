use std::fmt;

use super::{MysqlStatus, PeerStatus, PriorityPart, RouterStatus, Status, TransitionStatus};

/// The status for people: one screen, aligned.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "node", &format!("{}, vipd {}, up {}", self.node, self.version, Span(self.uptime_ms)))?;
        let datapath = &self.datapath;
        let gate = if datapath.gate { "gate in the kernel" } else { "no gate in the kernel" };
        line(f, "datapath", &format!("{} on {}, {gate}", datapath.mode, datapath.interface))?;
        if let Some(reason) = &datapath.fallback_reason {
            line(f, "", &format!("nothing better: {reason}"))?;
        }
        for router in &self.virtual_routers {
            f.write_str("\n")?;
            write_router(f, router)?;
        }
        f.write_str("\n")?;
        match &self.mysql {
            Some(mysql) => write_mysql(f, mysql)?,
            None => line(f, "server", "none is configured")?,
        }
        match &self.peer {
            Some(peer) => write_peer(f, peer),
            None => Ok(()),
        }
    }
}

fn line(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    writeln!(f, "{label:<16} {text}")
}

fn write_router(f: &mut fmt::Formatter<'_>, router: &RouterStatus) -> fmt::Result {
    let serving = if router.serving { "serving" } else { "not serving" };
    let state = router.state.to_uppercase();
    line(f, "virtual router", &format!("{} (vrid {} on {})", router.name, router.vrid, router.interface))?;
    line(f, "  state", &format!("{state}, {serving}, priority {}", router.effective_priority))?;
    let effective = router.priority_parts.iter().filter(|part| part.value != 0 || part.reason.is_some());
    let parts: Vec<_> = effective.map(ToString::to_string).collect();
    if parts.len() > 1 {
        line(f, "  priority", &parts.join(", "))?;
    }
    line(f, "  addresses", &router.addresses.join(" "))?;
    line(f, "  active router", router.active_address.as_deref().unwrap_or("none is heard"))?;
    if let Some(lease) = router.lease_remaining_ms {
        line(f, "  lease", &format!("{lease} ms left"))?;
    }
    if let Some(text) = router.hindrance_text.as_ref().or(router.hindrance.as_ref()) {
        line(f, "  no candidate", text)?;
    }
    if router.addresses_restored > 0 {
        line(f, "  put back", &format!("{} addresses that another program removed", router.addresses_restored))?;
    }
    let adverts = &router.adverts;
    let every = router.advertisement_interval_ms;
    line(f, "  adverts", &format!("{} sent, {} received, every {every} ms", adverts.sent, adverts.received))?;
    let refused: Vec<_> = adverts
        .refused
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if !refused.is_empty() {
        line(f, "  refused", &refused.join(", "))?;
    }
    match &router.last_transition {
        Some(transition) => write_transition(f, transition),
        None => Ok(()),
    }
}

/// As in `-20 interface ens34 (down)`.
impl fmt::Display for PriorityPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.fault, self.source.as_str()) {
            (true, source) => write!(f, "fault: {source}")?,
            (false, "configured") => write!(f, "{} configured", self.value)?,
            (false, source) => write!(f, "{:+} {source}", self.value)?,
        }
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

fn write_transition(f: &mut fmt::Formatter<'_>, transition: &TransitionStatus) -> fmt::Result {
    let reason = if transition.reason_text.is_empty() { &transition.reason } else { &transition.reason_text };
    line(f, "  last change", &format!("{}, {} to {}: {reason}", transition.at, transition.from, transition.to))?;
    if let Some(detail) = &transition.detail {
        line(f, "", detail)?;
    }
    let phases = &transition.phases_ms;
    let named = [
        ("detect", phases.detect),
        ("fence", phases.fence),
        ("drain", phases.drain),
        ("open", phases.open),
        ("vip", phases.vip),
        ("announce", phases.announce),
    ];
    let named = named.map(|(name, ms)| format!("{name} {ms:.1}"));
    line(f, "  phases (ms)", &named.join("  "))
}

fn write_mysql(f: &mut fmt::Formatter<'_>, mysql: &MysqlStatus) -> fmt::Result {
    let flavour = mysql.flavour.as_deref().unwrap_or("server of unknown kind");
    let version = mysql.server_version.as_deref().unwrap_or_default();
    line(f, "server", format!("{}, {flavour} {version}", mysql.state).trim_end())?;
    if let Some(writable) = mysql.writable {
        line(f, "  access", if writable { "writable" } else { "read-only" })?;
    }
    if let Some(reason) = mysql.reason_text.as_ref().or(mysql.reason.as_ref()) {
        line(f, "  because", reason)?;
    }
    let Some(replication) = &mysql.replication else { return Ok(()) };
    let word = |yes, word: &str| if yes { word.to_owned() } else { format!("not {word}") };
    let lag = replication.lag_ms.map_or("lag unknown".to_owned(), |lag| format!("{lag} ms behind"));
    let (receiving, applying) = (word(replication.receiving, "receiving"), word(replication.applying, "applying"));
    line(f, "  replication", &format!("{receiving}, {applying}, {lag}"))?;
    if replication.eligible {
        return Ok(());
    }
    let reason = replication.reason_text.as_ref().or(replication.reason.as_ref());
    line(f, "  not eligible", reason.map_or("no reason is known", String::as_str))
}

fn write_peer(f: &mut fmt::Formatter<'_>, peer: &PeerStatus) -> fmt::Result {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let link = if peer.connected { "connected" } else { "not connected" };
    let (node, state, mysql) = (known(&peer.node), known(&peer.state), known(&peer.mysql));
    line(f, "peer", &format!("{node}, {link}, {state}, server {mysql}"))
}

/// A span of time in milliseconds, in its two largest units.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        match seconds {
            0..60 => write!(f, "{seconds}s"),
            60..3600 => write!(f, "{}m {}s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{}h {}m", seconds / 3600, seconds / 60 % 60),
            86_400.. => write!(f, "{}d {}h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;

    #[test]
    fn fits_one_screen_and_says_who_serves() {
        let text = example().to_string();
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.lines().all(|line| line.len() <= 120 && line == line.trim_end()), "{text}");
        for part in [
            "node             db1, vipd 0.1.0, up 1d 2h\n",
            "datapath         native on ens33, gate in the kernel\n",
            "  state          ACTIVE, serving, priority 80\n",
            "  priority       100 configured, -20 interface ens34 (down)\n",
            "  lease          271 ms left\n",
            "  refused        checksum 2\n",
            "backup to active: the Active Router has fallen silent\n",
            "server           healthy, mariadb 10.11.6\n",
            "  access         writable\n",
            "  replication    receiving, applying, 0 ms behind\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn says_how_many_addresses_were_put_back() {
        let mut status = example();
        assert!(!status.to_string().contains("put back"));
        status.virtual_routers.first_mut().unwrap().addresses_restored = 2;
        assert!(status.to_string().contains("  put back       2 addresses that another program removed\n"));
    }

    #[test]
    fn a_fault_is_named_with_its_reason_and_a_priority_as_configured_is_not_taken_apart() {
        let mut status = example();
        let parts = &mut status.virtual_routers.first_mut().unwrap().priority_parts;
        parts.remove(1);
        assert!(!status.to_string().contains("configured,"), "{status}");
        let script = status.virtual_routers.first_mut().unwrap().priority_parts.last_mut().unwrap();
        (script.fault, script.reason) = (true, Some("exit status 1".to_owned()));
        let line = "  priority       100 configured, fault: script disk (exit status 1)\n";
        assert!(status.to_string().contains(line), "{status}");
    }

    #[test]
    fn says_why_a_router_is_no_candidate() {
        let mut status = example();
        let router = status.virtual_routers.first_mut().unwrap();
        router.hindrance = Some("server_failed".to_owned());
        router.hindrance_text = Some("the database server does not do its work".to_owned());
        assert!(status.to_string().contains("  no candidate   the database server does not do its work\n"));
    }
}
