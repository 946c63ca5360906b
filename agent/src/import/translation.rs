//! From the statements of a keepalived.conf to the sections of a vipd.toml.

use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::Imported;
use super::blocks::{Notes, Statement};
use super::instance::Instance;
use super::script::Check;
use super::sections::Globals;
use super::writer::Document;
use crate::config::Config;

/// What is known while the file is translated.
pub(super) struct Translation {
    pub(super) notes: Notes,
    pub(super) globals: Globals,
    pub(super) checks: Vec<Check>,
}

impl Translation {
    pub(super) fn new(notes: Notes) -> Self {
        Self { notes, globals: Globals::default(), checks: Vec::new() }
    }

    pub(super) fn run(mut self, statements: &[Statement]) -> Imported {
        // A router may stand before what it refers to.
        for statement in statements {
            match statement.keyword() {
                "global_defs" => self.globals.read(statement, &mut self.notes),
                "vrrp_script" => self.checks.push(Check::read_script(statement, &mut self.notes)),
                "vrrp_track_process" | "track_process" => {
                    self.checks.push(Check::read_process(statement, &mut self.notes));
                }
                _ => {}
            }
        }
        let mut instances: Vec<Instance> = Vec::new();
        for statement in statements {
            match statement.keyword() {
                "global_defs" | "vrrp_script" | "vrrp_track_process" | "track_process" => {}
                "vrrp_instance" => instances.push(Instance::read(statement, &mut self)),
                "vrrp_sync_group" => sync_group(statement, &mut self.notes),
                _ => other(statement, &mut self.notes),
            }
        }
        if instances.is_empty() {
            let at = statements.first().map_or(super::blocks::START, Statement::at);
            self.notes.add(at, "there is no vrrp_instance, so there is no [[virtual_router]] either");
        }
        let document = self.write(&mut instances);
        self.check(&document);
        Imported { toml: document.into_text(), remarks: self.notes.into_remarks(), routers: instances.len() }
    }

    /// `FILE:LINE`, for a comment.
    pub(super) fn origin(&self, statement_at: super::lexer::Position) -> String {
        format!("{}:{}", self.notes.file(statement_at), statement_at.line)
    }

    fn write(&mut self, instances: &mut [Instance]) -> Document {
        let mut document = Document::default();
        let start = super::blocks::START;
        document.comment(start, &format!("Imported from {} by vipd import keepalived.", self.notes.file(start)));
        document.comment(start, "Every key with its default: config/vipd.toml. Check with: vipd check-config FILE");
        let mut key_files = Vec::new();
        for instance in instances {
            instance.write(self, &mut document, &mut key_files);
        }
        for check in self.checks.iter().filter(|check| check.is_script()) {
            check.write(&mut document, &self.origin(check.at));
        }
        if let Some(check) = self.checks.iter().find(|check| check.is_server) {
            let at = check.at;
            document.line(at, "");
            document.comment(at, &format!("{}: instead of the check {}", self.origin(at), check.name));
            document.line(at, "[mysql]");
            document.line(at, "endpoint = \"/run/mysqld/mysqld.sock\"");
            document.line(at, "user = \"vipd\"");
            document.line(at, "password_file = \"/etc/vipd/mysql.pass\"");
            document.line(at, "[mysql.replication]");
            document.comment(at, "\"active\": vipd keeps the server without the address read-only, which keepalived");
            document.comment(at, "never did. \"both\" leaves read_only alone, as before the import.");
            document.line(at, "writers = \"active\"");
        }
        self.globals.write(&mut document, &mut self.notes);
        document
    }

    /// Names what the agent would refuse in the result, at the place it came from.
    fn check(&mut self, document: &Document) {
        let Err(problems) = Config::parse(document.text(), Path::new("vipd.toml")) else { return };
        for problem in problems {
            let at = document.origin(problem.line).unwrap_or(super::blocks::START);
            self.notes.add(at, format!("vipd would refuse line {} of its file: {problem}", problem.line));
        }
    }
}

fn sync_group(statement: &Statement, notes: &mut Notes) {
    let name = statement.value().map_or("", |word| &word.text);
    notes.add(
        statement.at(),
        format!(
            "vrrp_sync_group {name}: no equal is needed; all virtual routers of a host follow the health of its server. \
             Give its members the same priority"
        ),
    );
    for child in statement.children() {
        let keyword = child.keyword();
        match keyword {
            "group" => {}
            _ if keyword.starts_with("notify") => {
                notes.add(child.at(), format!("{keyword}: not imported; see [notify] command"));
            }
            "track_script" | "track_interface" | "track_process" | "track_file" | "track_bfd" => notes.add(
                child.at(),
                format!("{keyword} of a group: not imported; track it in each virtual router of the group"),
            ),
            _ => notes.add(child.at(), format!("{keyword}: no equal for a group; not imported")),
        }
    }
}

fn other(statement: &Statement, notes: &mut Notes) {
    let keyword = statement.keyword();
    let text = match keyword {
        "virtual_server" | "virtual_server_group" => "not imported; vipd does no load balancing (LVS)",
        "static_ipaddress" | "static_routes" | "static_rules" | "static_group" => {
            "not imported; leave it to the network configuration of the host"
        }
        "vrrp_track_file" | "track_file" | "bfd_instance" | "garp_group" | "interface_up_down_delays" => {
            "no equal; not imported"
        }
        "net_namespace" | "net_namespace_ipvs" | "namespace_with_ipsets" | "instance" | "use_pid_dir" => {
            "no equal; the systemd unit of vipd says where it runs"
        }
        "linkbeat_use_polling" | "linkbeat_interfaces" => "no equal; vipd hears of link changes from the kernel",
        "smtp_server_group" | "include_check" | "nopreempt" => "not allowed here; not imported",
        _ if keyword.starts_with('@') => {
            "applies under one configuration id only; left out. Take it in by hand on the host that has this id"
        }
        _ => "unknown keyword; not imported",
    };
    notes.add(statement.at(), format!("{keyword}: {text}"));
}

/// Reads the number after a keyword.
pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    statement: &Statement,
    allowed: RangeInclusive<T>,
    notes: &mut Notes,
) -> Option<T> {
    let number = statement.value().and_then(|word| word.text.parse().ok()).filter(|number| allowed.contains(number));
    if number.is_none() {
        let (low, high) = (allowed.start(), allowed.end());
        notes.add(
            statement.at(),
            format!("{}: a number of {low}..={high} is wanted; not imported", statement.keyword()),
        );
    }
    number
}

/// Reads the seconds after a keyword, which may have a fraction down to a microsecond.
pub(super) fn seconds(statement: &Statement, notes: &mut Notes) -> Option<Duration> {
    let parse = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() > 9 || fraction.len() > 6 || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let micros: u64 = format!("{fraction:0<6}").parse().ok()?;
        (text.len() > 1 || !text.starts_with('.')).then(|| Duration::from_micros(whole * 1_000_000 + micros))
    };
    let time = statement.value().and_then(|word| parse(&word.text).filter(|_| !word.text.is_empty()));
    if time.is_none() {
        notes.add(statement.at(), format!("{}: a number of seconds is wanted; not imported", statement.keyword()));
    }
    time
}
