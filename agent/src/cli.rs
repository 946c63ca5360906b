//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{config, init};

/// Keeps one virtual IP in front of a pair of MySQL or MariaDB servers.
///
/// One vipd runs on each database host. The two elect the host that holds the address (VRRP), watch their own server and
/// move the address when it fails.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "First steps:\n  \
        vipd check-config /etc/vipd/vipd.toml   find what is wrong in the file\n  \
        vipd run                                run the agent here and now (as root)\n  \
        vipd status                             see who is Active and who serves"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub agent: Agent,
}

/// How to find the agent and its settings.
#[derive(Debug, Args)]
pub struct Agent {
    /// The configuration file [default: /etc/vipd/vipd.toml]
    #[arg(long, value_name = "FILE", env = "VIPD_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// The control socket of the agent [default: control.socket of the configuration, or /run/vipd/vipd.sock]
    #[arg(long, value_name = "PATH", env = "VIPD_SOCKET", global = true)]
    pub socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the agent in the foreground
    ///
    /// It ends on SIGTERM or SIGINT after a clean hand-over: the addresses are gone and the peer knows. Under systemd it
    /// reports when it is ready and feeds the watchdog. VIPD_LOG sets what is logged, as in VIPD_LOG=debug. Exit code: 0 after
    /// the hand-over, 78 when the configuration is refused, 1 for anything else.
    Run,
    /// Checks a configuration file and lists everything that is wrong with it
    ///
    /// Each line names the file, the line, the key, what stands there, what is allowed and what to do. Nothing is changed
    /// and no agent is needed. Exit code: 0 when the file is good, 1 when it is refused.
    CheckConfig {
        /// The file [default: the one of --config]
        file: Option<PathBuf>,
    },
    /// Looks at this host and its server for what stands in the way of a safe failover; changes nothing
    ///
    /// Each finding says what is there, why it matters and what to do. Run it as root on both hosts. Exit code: 0 when nothing
    /// was found, 1 when there are errors, 2 when there are warnings only.
    Doctor,
    /// Shows who is Active, who serves and why, the server and the datapath
    Status {
        /// Prints the status as JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Prints the least privileges that the agent needs as SQL, to be run once on the writer
    Grants {
        /// The kind of server
        #[arg(long, value_enum, default_value_t)]
        dialect: Dialect,
        /// The account's name
        #[arg(long, default_value = "vipd")]
        user: String,
        /// Where the account may come from: this host, unless the endpoint is an address
        #[arg(long, default_value = "localhost")]
        host: String,
    },
    /// Prints a new key of 32 octets as 64 hex digits, for the peer link or the authentication of advertisements
    ///
    /// Write it once and copy the file to the other host: (umask 077; vipd keygen > /etc/vipd/vrrp.key)
    Keygen,
    /// Writes the configuration of this host, and that of its twin for the other one
    ///
    /// What no option says is asked for, with a proposal from the addresses of this host; without a terminal every option
    /// that is missing is named. Both files are checked before anything is written: the one of --config, and beside it
    /// vipd.twin.toml, to be copied to the other host.
    ///
    ///   vipd init --interface eth0 --address 192.0.2.10/24 --source 192.0.2.1 --peer 192.0.2.2 \\
    ///     --endpoint /run/mysqld/mysqld.sock
    #[command(verbatim_doc_comment)]
    Init(Init),
    /// Translates the configuration of another VRRP daemon
    #[command(subcommand)]
    Import(Import),
    /// Removes every address and pinned BPF object of this host's configuration
    ///
    /// For when no agent runs: systemd calls it after the agent has ended (ExecStopPost).
    Cleanup,
    /// Becomes the program of a tracked script; for the agent itself.
    #[command(hide = true)]
    RunScript {
        #[arg(long)]
        name: String,
        #[arg(long)]
        uid: u32,
        #[arg(long)]
        gid: u32,
        #[arg(long, value_delimiter = ',')]
        groups: Vec<u32>,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// The options of `vipd init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The interface that the clients come in by
    #[arg(long)]
    pub interface: Option<String>,
    /// The one of the other host [default: the same name]
    #[arg(long, value_name = "INTERFACE")]
    pub peer_interface: Option<String>,
    /// The virtual address; its prefix is that of the interface's network unless it is given
    #[arg(long, value_name = "ADDRESS[/PREFIX]")]
    pub address: Option<String>,
    /// The own address of this host
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// The own address of the other host
    #[arg(long, value_name = "ADDRESS")]
    pub peer: Option<IpAddr>,
    /// The server on each host: the path of its socket, or an address with its port
    #[arg(long, value_name = "PATH|ADDRESS:PORT")]
    pub endpoint: Option<String>,
    /// The id of the virtual router, used by no other one on this network
    #[arg(long, default_value_t = init::VRID, value_parser = clap::value_parser!(u8).range(1..=255))]
    pub vrid: u8,
    /// Replaces files that are there
    #[arg(long)]
    pub force: bool,
}

/// Whose configuration is translated.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// Prints a keepalived.conf as a vipd.toml; remarks on what has no equal go to stderr
    ///
    /// Nothing is changed and no agent is needed. Each remark names file, line and column. A check for mysqld becomes the
    /// section `[mysql]`, other scripts become `[[script]]`. A password is not copied: a remark says how to write its file.
    /// Includes are followed, relative to the file that holds them.
    ///
    ///   vipd import keepalived /etc/keepalived/keepalived.conf > vipd.toml && vipd check-config vipd.toml
    ///
    /// Exit code: 0 when there is at least one virtual router, 1 when the file has a fault or no vrrp_instance.
    #[command(verbatim_doc_comment)]
    Keepalived {
        /// The file, usually /etc/keepalived/keepalived.conf
        file: PathBuf,
    },
}

/// The kinds of server, as on the command line.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Dialect {
    /// MariaDB 10.5.9 and later
    #[default]
    Mariadb,
    /// MySQL 8.0 and later
    Mysql,
}

impl Dialect {
    /// A version of the kind, as the server would say it.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::Mariadb => "10.11.0-MariaDB",
            Self::Mysql => "8.4.0",
        }
    }
}

impl Agent {
    /// The configuration file, named or by default.
    #[must_use]
    pub fn config_path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(config::DEFAULT_PATH))
    }

    /// The control socket: from the command line, else from the configuration, else by default.
    ///
    /// A faulty file does not hinder: the agent may run with an earlier one.
    pub fn socket_path(&self) -> Result<PathBuf, config::Error> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        match config::socket_of(self.config_path()) {
            // Without a file of this name on the command line, there need not be one.
            Err(_) if self.config.is_none() => Ok(PathBuf::from(config::DEFAULT_SOCKET)),
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_stand_before_and_after_the_command() {
        for line in [["vipd", "--config", "a.toml", "status"], ["vipd", "status", "--config", "a.toml"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.agent.config_path(), Path::new("a.toml"));
        }
    }

    #[test]
    fn the_socket_of_the_command_line_goes_first() {
        let cli = Cli::try_parse_from(["vipd", "status", "--socket", "/tmp/s", "--config", "/nonexistent"]).unwrap();
        assert_eq!(cli.agent.socket_path().unwrap(), Path::new("/tmp/s"));
        let cli = Cli::try_parse_from(["vipd", "status", "--config", "/nonexistent"]).unwrap();
        assert!(cli.agent.socket_path().unwrap_err().to_string().contains("/nonexistent"));
    }
}
