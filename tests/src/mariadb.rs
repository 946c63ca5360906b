//! Real MariaDB servers that replicate to each other.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mysql::prelude::Queryable as _;
use nix::sys::signal::Signal;

use crate::network::Host;
use crate::process::Process;
use crate::run::{Run, command_output, lab_folder, remove_folder};

/// The password of every account in the lab.
pub const PASSWORD: &str = "lab";
pub const PORT: u16 = 3306;

/// What every data folder begins with; no binary log knows of it, so it is not replicated.
///
/// The agent's account has what `vipd grants` prints for MariaDB, and nothing else.
pub(crate) const SEED: &str = "\
FLUSH PRIVILEGES;
CREATE USER app@'%' IDENTIFIED BY 'lab';
CREATE USER repl@'%' IDENTIFIED BY 'lab';
CREATE USER vipd@localhost IDENTIFIED BY 'lab';
CREATE DATABASE shop;
CREATE TABLE shop.ledger (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, written_by INT UNSIGNED NOT NULL) ENGINE=InnoDB;
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO app@'%';
GRANT REPLICATION SLAVE ON *.* TO repl@'%';
GRANT PROCESS, BINLOG MONITOR, REPLICA MONITOR, REPLICATION SLAVE ADMIN, READ_ONLY ADMIN, CONNECTION ADMIN \
ON *.* TO vipd@localhost;
GRANT ALL ON vipd.* TO vipd@localhost;
";

/// One `mariadbd` with a data folder of its own.
#[derive(Debug)]
pub struct Mariadb {
    number: u8,
    host: Host,
    folder: PathBuf,
    socket: PathBuf,
    process: Option<Process>,
}

/// What a server says of the stream that it receives from the other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    pub receiving: bool,
    pub applying: bool,
    pub error: String,
}

impl Mariadb {
    /// Makes a data folder and starts the server; `number` is its id and GTID domain, 1 or 2.
    pub fn start(run: &Run, host: &Host, number: u8) -> Result<Self> {
        let template = template()?;
        let folder = run.folder().join(&host.name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let data = folder.join("data");
        command_output(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&template).arg(&data))?;
        let socket = run.runtime().join(format!("{}.mysqld.sock", host.name));
        let mut server = Self { number, host: host.clone(), folder, socket, process: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts the server again after its end.
    pub fn restart(&mut self) -> Result<()> {
        let mut command = self.host.namespace.command("mariadbd");
        command.args(["--no-defaults", "--user=root", "--bind-address=0.0.0.0", "--skip-name-resolve"]);
        command.args(["--log-bin=binlog", "--relay-log=relay", "--log-slave-updates", "--binlog-format=ROW"]);
        command.args(["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", "--read-only=ON"]);
        command.args(["--slave-net-timeout=4", "--auto-increment-increment=2", "--relay-log-recovery=ON"]);
        command.args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--performance-schema=OFF"]);
        for (option, value) in [("server-id", self.number), ("gtid-domain-id", self.number)] {
            command.arg(format!("--{option}={value}"));
        }
        command.arg(format!("--auto-increment-offset={}", self.number));
        command.arg(format!("--port={PORT}")).arg(format!("--report-host={}", self.host.address));
        command.arg(format!("--datadir={}", self.folder.join("data").display()));
        command.arg(format!("--socket={}", self.socket.display()));
        command.arg(format!("--pid-file={}", self.socket.with_extension("pid").display()));
        self.process = Some(Process::spawn(command, &self.folder.join("mariadbd.log"))?);
        self.wait_ready(Duration::from_secs(20))
    }

    /// Waits until it answers a query.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let failure = match self.query::<u8>("SELECT 1") {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            let process = self.process.as_mut().context("the server was not started")?;
            if let Some(status) = process.ended()? {
                bail!("mariadbd on {} ended: {status}; see {}", self.host.name, process.log().display());
            }
            if Instant::now() >= deadline {
                return Err(failure.context(format!("mariadbd on {} is not ready", self.host.name)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("the server was not started")?.signal(signal)
    }

    /// Waits for the end of the process after a signal.
    pub fn wait_end(&mut self, timeout: Duration) -> Result<()> {
        let process = self.process.as_mut().context("the server was not started")?;
        match process.wait(timeout)? {
            Some(_) => Ok(()),
            None => bail!("mariadbd on {} still runs after {timeout:?}", self.host.name),
        }
    }

    /// Lets the server outlive this value.
    pub fn release(&mut self) {
        if let Some(process) = &mut self.process {
            process.release();
        }
    }

    /// Receives from `source` from the beginning of its binary log on.
    pub fn replicate_from(&self, source: Ipv4Addr) -> Result<()> {
        self.execute(&format!(
            "CHANGE MASTER TO MASTER_HOST='{source}', MASTER_PORT={PORT}, MASTER_USER='repl', \
             MASTER_PASSWORD='{PASSWORD}', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1"
        ))?;
        self.execute("START SLAVE")
    }

    pub fn replication(&self) -> Result<Replication> {
        let row: Option<mysql::Row> = self.connect()?.query_first("SHOW SLAVE STATUS")?;
        let row = row.with_context(|| format!("{} is no replica", self.host.name))?;
        let text = |column: &str| row.get::<Option<String>, _>(column).flatten().unwrap_or_default();
        Ok(Replication {
            receiving: text("Slave_IO_Running") == "Yes",
            applying: text("Slave_SQL_Running") == "Yes",
            error: format!("{}{}", text("Last_IO_Error"), text("Last_SQL_Error")),
        })
    }

    pub fn writable(&self) -> Result<bool> {
        Ok(self.query::<u8>("SELECT @@GLOBAL.read_only")?.first() == Some(&0))
    }

    pub fn execute(&self, statement: &str) -> Result<()> {
        self.connect()?.query_drop(statement).with_context(|| format!("{}: {statement}", self.host.name))
    }

    pub fn query<T: mysql::prelude::FromRow>(&self, statement: &str) -> Result<Vec<T>> {
        self.connect()?.query(statement).with_context(|| format!("{}: {statement}", self.host.name))
    }

    /// A session of root by the socket.
    fn connect(&self) -> Result<mysql::Conn> {
        let socket = self.socket.to_string_lossy().into_owned();
        let limit = Some(Duration::from_secs(10));
        let options =
            mysql::OptsBuilder::new().socket(Some(socket)).user(Some("root")).max_allowed_packet(Some(1 << 24));
        mysql::Conn::new(options.read_timeout(limit).write_timeout(limit))
            .with_context(|| format!("connect to mariadbd on {}", self.host.name))
    }
}

/// The data folder that all others are copies of; made anew when the server or the seed has changed.
fn template() -> Result<PathBuf> {
    let version = command_output(Command::new("mariadbd").arg("--version"))?;
    let identity = format!("{version}{SEED}");
    let folder = lab_folder().join("template");
    let (data, stamp) = (folder.join("data"), folder.join("made-from"));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == identity) {
        return Ok(data);
    }
    remove_folder(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut install = Command::new("mariadb-install-db");
    install.args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    install.args(["--innodb-log-file-size=16M"]).arg(format!("--datadir={}", data.display()));
    command_output(&mut install)?;
    let seed = folder.join("seed.sql");
    // The bootstrap mode reads one statement a line.
    fs::write(&seed, SEED).context("write the seed")?;
    let mut bootstrap = Command::new("mariadbd");
    bootstrap.args(["--no-defaults", "--user=root", "--bootstrap", "--innodb-log-file-size=16M"]);
    bootstrap.arg(format!("--datadir={}", data.display()));
    bootstrap.stdin(Stdio::from(fs::File::open(&seed).context("open the seed")?));
    command_output(&mut bootstrap)?;
    fs::write(&stamp, identity).context("write the stamp")?;
    Ok(data)
}
