//! `vrrp_instance`: one virtual router.

mod addresses;
mod authentication;
mod keywords;

use std::net::IpAddr;
use std::time::Duration;

use self::authentication::Password;
use super::blocks::{Notes, Statement};
use super::lexer::Position;
use super::script::weight;
use super::translation::{Translation, number, seconds};
use super::writer::{Document, list, quoted};
use crate::config::duration;

/// A virtual router of keepalived, each value as the file has it.
#[derive(Debug)]
pub(super) struct Instance {
    name: String,
    at: Position,
    interface: Option<String>,
    vrid: Option<u8>,
    priority: u8,
    version: Option<u8>,
    interval: Option<(Duration, Position)>,
    addresses: Vec<String>,
    is_ipv6: bool,
    peers: Vec<String>,
    source: Option<String>,
    preempt: bool,
    preempt_delay: Option<Duration>,
    refresh: Option<Duration>,
    password: Option<Password>,
    /// Each with what is added to the priority while it is down; 0: the node is no candidate.
    interfaces: Vec<(String, i32)>,
    scripts: Vec<String>,
    /// What keepalived adds to the priority while all is well.
    bonus: i32,
}

impl Instance {
    pub(super) fn read(statement: &Statement, translation: &mut Translation) -> Self {
        let mut instance = Self {
            name: statement.value().map(|word| word.text.clone()).unwrap_or_default(),
            at: statement.at(),
            interface: translation.globals.interface.clone(),
            vrid: None,
            priority: 100,
            version: translation.globals.version,
            interval: None,
            addresses: Vec::new(),
            is_ipv6: false,
            peers: Vec::new(),
            source: None,
            preempt: true,
            preempt_delay: None,
            refresh: translation.globals.refresh,
            password: None,
            interfaces: Vec::new(),
            scripts: Vec::new(),
            bonus: 0,
        };
        for child in statement.children() {
            instance.take(child, translation);
        }
        instance
    }

    fn take(&mut self, child: &Statement, translation: &mut Translation) {
        let notes = &mut translation.notes;
        let value = child.value().map(|word| word.text.clone());
        let keyword = child.keyword();
        let mut used = 2;
        match keyword {
            "interface" => self.interface = value,
            "virtual_router_id" => self.vrid = number(child, 1..=255, notes),
            "priority" => self.priority = priority(child, notes),
            "version" | "vrrp_version" => self.version = number(child, 2..=3, notes).or(self.version),
            "advert_int" => self.interval = seconds(child, notes).map(|time| (time, child.at())),
            "unicast_src_ip" | "mcast_src_ip" => self.source = value,
            "unicast_peer" => {
                self.peers = addresses::peers(child, notes);
                return;
            }
            "virtual_ipaddress" => {
                let (found, is_ipv6) = addresses::read(child, self.interface.as_deref(), notes);
                (self.addresses, self.is_ipv6) = (found, is_ipv6);
                return;
            }
            "nopreempt" => (self.preempt, used) = (false, 1),
            "preempt" => (self.preempt, used) = (true, 1),
            "preempt_delay" => self.preempt_delay = hour(child, notes),
            "garp_master_refresh" => self.refresh = hour(child, notes).filter(|time| !time.is_zero()),
            "authentication" => {
                self.password = authentication::read(child, notes);
                return;
            }
            "track_interface" => return self.track_interfaces(child, notes),
            "track_script" | "track_process" => return self.track_checks(child, translation),
            "state" => {
                let state = value.unwrap_or_default();
                notes.add(
                    child.at(),
                    format!("state {state}: no equal; vipd starts as Backup, and the priority decides"),
                );
            }
            _ => return notes.add(child.at(), format!("{keyword}: {}", keywords::no_equal(keyword))),
        }
        // The surplus is not told: it may be a password.
        if let Some(surplus) = child.words.get(used) {
            notes.add(surplus.at, format!("what follows the value of {keyword} on its line is ignored"));
        }
    }

    fn track_interfaces(&mut self, child: &Statement, notes: &mut Notes) {
        for words in addresses::entries(child) {
            let Some((name, rest)) = words.split_first() else { continue };
            let own = match rest.split_first() {
                Some((key, rest)) if key.text == "weight" => weight(rest, notes).unwrap_or(0),
                Some((key, _)) => {
                    notes.add(key.at, "unknown in track_interface; not imported");
                    0
                }
                None => 0,
            };
            self.bonus += own.max(0);
            if !self.interfaces.iter().any(|(known, _)| *known == name.text) {
                self.interfaces.push((name.text.clone(), -own.abs()));
            }
        }
    }

    fn track_checks(&mut self, child: &Statement, translation: &mut Translation) {
        for words in addresses::entries(child) {
            let Some((name, rest)) = words.split_first() else { continue };
            let notes = &mut translation.notes;
            let Some(check) = translation.checks.iter().find(|check| check.name == name.text) else {
                notes.add(name.at, format!("{}: nothing of this name is defined; not imported", name.text));
                continue;
            };
            let own = match rest.split_first() {
                Some((key, rest)) if key.text == "weight" => weight(rest, notes),
                Some((key, _)) => {
                    notes.add(key.at, format!("unknown in {}; not imported", child.keyword()));
                    None
                }
                None => None,
            };
            self.bonus += own.unwrap_or(check.weight).max(0);
            if check.is_server {
                if own.unwrap_or(check.weight) != 0 {
                    notes.add(name.at, "weight: no equal; a host whose server has failed is no candidate");
                }
                continue;
            }
            if own.is_some_and(|own| own != check.weight) {
                notes.add(
                    name.at,
                    format!("weight of {} in one router: vipd has one weight for each [[script]]", name.text),
                );
            }
            if check.is_script() && !self.scripts.contains(&name.text) {
                self.scripts.push(name.text.clone());
            }
        }
    }

    /// Turns to version 3 where keepalived does; otherwise its default is 2.
    fn version(&self, notes: &mut Notes) -> u8 {
        match self.version {
            Some(2) if self.is_ipv6 => {
                notes.add(self.at, "version 2 with IPv6: VRRPv2 carries IPv4 only; version = 3 is written");
                3
            }
            Some(version) => version,
            None if self.is_ipv6 => 3,
            None => 2,
        }
    }

    fn interval(&self, version: u8, notes: &mut Notes) -> Duration {
        let (time, at) = self.interval.unwrap_or((Duration::from_secs(1), self.at));
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (step, most) = if version == 2 { (1_000_000, 255_000_000) } else { (10_000, 40_950_000) };
        let allowed = Duration::from_micros(micros.div_ceil(step).saturating_mul(step).clamp(step, most));
        if allowed != time {
            let written = duration::display(allowed);
            notes.add(at, format!("advert_int: version {version} cannot say this; {written} is written"));
        }
        allowed
    }

    pub(super) fn write(&self, translation: &mut Translation, document: &mut Document, key_files: &mut Vec<String>) {
        let at = self.at;
        let origin = translation.origin(at);
        let notes = &mut translation.notes;
        let version = self.version(notes);
        document.line(at, "");
        document.comment(at, &format!("{origin}: vrrp_instance {}", self.name));
        document.line(at, "[[virtual_router]]");
        let mut key = |key: &str, value: String| document.line(at, &format!("{key} = {value}"));
        key("name", quoted(&self.name));
        if let Some(interface) = &self.interface {
            key("interface", quoted(interface));
        }
        if let Some(vrid) = self.vrid {
            key("vrid", vrid.to_string());
        }
        key("priority", self.priority_with_bonus(notes).to_string());
        key("version", version.to_string());
        let interval = self.interval(version, notes);
        key("advertisement_interval", format!("\"{}\"", duration::display(interval)));
        key("addresses", list(&self.addresses));
        if !self.peers.is_empty() {
            key("peers", list(&self.peers));
        }
        if let Some(source) = &self.source {
            let fits = source.parse::<IpAddr>().is_ok_and(|source| source.is_ipv6() == self.is_ipv6);
            if fits || self.addresses.is_empty() {
                key("source_address", quoted(source));
            } else {
                notes.add(at, "the source address is not of the family of the virtual addresses; not imported");
            }
        }
        if !self.preempt {
            key("preempt", "false".to_owned());
        }
        if let Some(delay) = self.preempt_delay.filter(|delay| !delay.is_zero()) {
            key("preempt_delay", format!("\"{}\"", duration::display(delay)));
        }
        if let Some(password) = &self.password {
            if version == 2 {
                let path = password.key_file(&self.name, key_files);
                password.explain(&path, notes);
                key("authentication", format!("{{ type = \"pass\", key_file = {} }}", quoted(&path)));
            } else {
                notes.add(password.at(), "authentication: VRRPv3 has none (RFC 9568); not imported");
            }
        }
        if !self.interfaces.is_empty() {
            let tracked = self.interfaces.iter().map(|(name, weight)| match weight {
                0 => quoted(name),
                _ => format!("{{ interface = {}, weight = {weight} }}", quoted(name)),
            });
            key("track_interfaces", format!("[{}]", tracked.collect::<Vec<_>>().join(", ")));
        }
        if !self.scripts.is_empty() {
            key("track_scripts", list(&self.scripts));
        }
        if let Some(refresh) = self.refresh {
            document.line(at, "[virtual_router.announce]");
            document.line(at, &format!("refresh = \"{}\"", duration::display(refresh)));
        }
    }

    fn priority_with_bonus(&self, notes: &mut Notes) -> u8 {
        if self.bonus == 0 {
            return self.priority;
        }
        let sum = (i32::from(self.priority) + self.bonus).clamp(1, 254);
        let sum = u8::try_from(sum).unwrap_or(self.priority);
        notes.add(
            self.at,
            format!(
                "positive weights: keepalived adds them while all is well, vipd subtracts while something fails; \
                 priority = {sum} is written instead of {}",
                self.priority
            ),
        );
        sum
    }
}

fn priority(statement: &Statement, notes: &mut Notes) -> u8 {
    if statement.value().is_some_and(|word| word.text == "255") {
        notes.add(
            statement.at(),
            "priority 255 is the owner of an address, which a virtual address on two hosts has not; 254 is written",
        );
        return 254;
    }
    number(statement, 1..=254, notes).unwrap_or(100)
}

/// Seconds up to an hour, the most that vipd takes.
fn hour(statement: &Statement, notes: &mut Notes) -> Option<Duration> {
    let time = seconds(statement, notes)?;
    let allowed = time.min(Duration::from_secs(3600));
    if allowed != time {
        notes.add(statement.at(), format!("{}: an hour is the most; 1h is written", statement.keyword()));
    }
    Some(allowed)
}
