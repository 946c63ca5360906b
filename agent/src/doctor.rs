//! `vipd doctor`: what on this host and in its server stands in the way of a safe failover.

mod host;
mod server;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::Config;
use crate::mysql;
use crate::run::server_settings;

/// A server that answers slower than this has a finding of its own.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A failover can lose rows, cannot happen, or makes two writers.
    Error,
    /// A failover works, and something is weaker than it could be.
    Warning,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// What is there, as in `sync_binlog = 0`.
    pub what: String,
    /// Why that matters.
    pub why: &'static str,
    /// What to do, exactly.
    pub fix: String,
}

impl Finding {
    fn error(what: impl Into<String>, why: &'static str, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Error, what: what.into(), why, fix: fix.into() }
    }

    fn warning(what: impl Into<String>, why: &'static str, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), why, fix: fix.into() }
    }
}

/// All that was found, the errors first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
    /// What was looked at and is good, in a few words each.
    good: Vec<String>,
}

impl Report {
    fn add(&mut self, findings: Vec<Finding>, good: &str) {
        if findings.is_empty() {
            self.good.push(good.to_owned());
        }
        self.findings.extend(findings);
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// 0: clean, 1: errors, 2: only warnings.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match (self.count(Severity::Error), self.count(Severity::Warning)) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { severity, what, why, fix } in &self.findings {
            let word = match severity {
                Severity::Error => "ERROR  ",
                Severity::Warning => "WARNING",
            };
            writeln!(f, "{word} {what}\n        {why}\n        Fix: {fix}")?;
        }
        for good in &self.good {
            writeln!(f, "ok      {good}")?;
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        writeln!(f, "{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings))
    }
}

/// Looks at everything that can be seen from here; nothing is changed.
pub fn run(config: &Config) -> anyhow::Result<Report> {
    let mut report = Report::default();
    report.add(host::configuration(config), "the configuration and its files");
    report.add(host::kernel(config), "the kernel and the privileges of this user");
    report.add(host::interfaces(config)?, "the interfaces and their addresses");
    report.add(host::neighbours(), "the firewall and other programs");
    match &config.mysql {
        Some(mysql) => match server_settings(mysql) {
            Ok(settings) => look_at_server(config, settings, &mut report)?,
            Err(error) => report.findings.push(Finding::error(
                format!("{error:#}"),
                "Without its password the agent cannot ask the server anything.",
                "write the password of the agent's account into that file, mode 0600, owned by root",
            )),
        },
        None => report.good.push("no server: plain VRRP".to_owned()),
    }
    report.findings.sort_by_key(|finding| finding.severity);
    Ok(report)
}

fn look_at_server(config: &Config, settings: mysql::ServerSettings, report: &mut Report) -> anyhow::Result<()> {
    let writers = settings.writers;
    let user = settings.user.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(mysql::inspection::inspect(&settings, PATIENCE)) {
        Ok(seen) => {
            report.add(server::settings(&seen, writers), "the settings of the server");
            report.add(server::reachable(&seen, config), "the server listens on the virtual address");
            report.add(server::replication(&seen), "the replication from the other server");
            report.add(server::privileges(&seen, &user), "the privileges of the agent's account");
            report.add(host::option_files(writers), "the server starts read-only");
        }
        Err(error) => report.findings.push(Finding::error(
            format!("{error:#}"),
            "What the agent cannot log in to counts as unknown, and an unknown server is no candidate.",
            "start the server, or correct [mysql] endpoint, user and password_file; `vipd grants` prints the account",
        )),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stand_first_and_decide_the_exit_code() {
        let mut report = Report::default();
        report.add(vec![Finding::warning("a", "b.", "c")], "x");
        report.add(Vec::new(), "y");
        assert_eq!(report.exit_code(), ExitCode::from(2));
        assert_eq!(report.to_string(), "WARNING a\n        b.\n        Fix: c\nok      y\n0 errors, 1 warning\n");
        report.add(vec![Finding::error("d", "e.", "f")], "z");
        assert_eq!(report.exit_code(), ExitCode::FAILURE);
        assert_eq!(Report::default().exit_code(), ExitCode::SUCCESS);
    }
}
