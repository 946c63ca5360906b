//! The adapter against real MariaDB servers; skipped aloud where none is installed.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent_core::{Death, Doubt, Fault, Input, Probe, ProbeOutcome, Receiver, ServerReport, Standing, Ticket, Writers};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};
use vipd::mysql::dialect::Dialect;
use vipd::mysql::{Command, Endpoint, Server, ServerSettings, grants};
use vipd::secret::Secret;

const PATIENCE: Duration = Duration::from_secs(20);
const PROBE_TIMEOUT: Duration = Duration::from_millis(300);
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
static NEXT_TICKET: AtomicU64 = AtomicU64::new(1);

/// A `mariadbd` with a folder of its own; killed and removed when dropped.
struct Mariadb {
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl Mariadb {
    fn start(id: u16) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() || !Path::new("/usr/sbin/mariadbd").exists() {
            eprintln!("SKIPPED: needs root and mariadbd");
            return None;
        }
        let port =
            20_000 + u16::try_from(std::process::id() % 20_000).unwrap() + NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("vipd-mysql-{}-{port}", std::process::id()));
        let data = folder.join("data");
        std::fs::create_dir_all(&folder).unwrap();
        let installed = Process::new("mariadb-install-db")
            .args(["--no-defaults", "--user=root", "--skip-test-db", "--auth-root-authentication-method=normal"])
            .arg(format!("--datadir={}", data.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(installed.success());
        let child = Self::spawn(&folder, port, id);
        Some(Self { folder, port, child })
    }

    fn spawn(folder: &Path, port: u16, id: u16) -> Child {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        Process::new("mariadbd")
            .args(["--no-defaults", "--user=root", "--log-bin=bin", "--log-slave-updates", "--binlog-format=ROW"])
            .args(["--innodb-buffer-pool-size=16M", "--bind-address=127.0.0.1", "--slave-net-timeout=4"])
            .args(["--skip-name-resolve", "--innodb-log-file-size=16M"])
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--socket={}", folder.join("socket").display()))
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            .arg(format!("--port={port}"))
            .arg(format!("--server-id={id}"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn restart(&mut self, id: u16) {
        self.child.wait().unwrap();
        self.child = Self::spawn(&self.folder, self.port, id);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    async fn login(&self, user: &str, password: &str) -> Conn {
        let opts = OptsBuilder::default()
            .user(Some(user))
            .pass(Some(password))
            .socket(Some(self.folder.join("socket").to_str().unwrap()));
        let started = Instant::now();
        loop {
            match Conn::new(opts.clone()).await {
                Ok(conn) => return conn,
                Err(error) if started.elapsed() > PATIENCE => panic!("{error}"),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// The accounts of the agent (with its printed grants and nothing else), of replication and of a client.
    async fn seed(&self) -> Conn {
        let mut root = self.login("root", "").await;
        root.query_drop("SET SESSION sql_log_bin = 0").await.unwrap();
        let version: String = root.query_first("SELECT VERSION()").await.unwrap().unwrap();
        for statement in grants::statements(Dialect::parse(&version), "vipd", "localhost") {
            root.query_drop(statement.replace(grants::PASSWORD_PLACEHOLDER, "secret")).await.unwrap();
        }
        for statement in [
            "CREATE USER repl@'127.0.0.1' IDENTIFIED BY 'repl'",
            "GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1'",
            "CREATE USER app@localhost IDENTIFIED BY 'app'",
            "GRANT ALL ON shop.* TO app@localhost",
            "CREATE DATABASE shop",
            "CREATE TABLE shop.ledger (id INT PRIMARY KEY, note VARCHAR(200)) ENGINE=InnoDB",
            "CREATE TABLE shop.held (id INT PRIMARY KEY) ENGINE=InnoDB",
        ] {
            root.query_drop(statement).await.unwrap();
        }
        root.query_drop("SET SESSION sql_log_bin = 1").await.unwrap();
        root
    }

    fn watch(&self, password: &str) -> (Server, News) {
        let settings = ServerSettings {
            endpoint: Endpoint::Unix(self.folder.join("socket")),
            user: "vipd".to_owned(),
            password: Secret::new(password),
            probe_interval: Duration::from_millis(50),
            probe_timeout: PROBE_TIMEOUT,
            write_probe: true,
            writers: Writers::Active,
            drain_timeout: Duration::from_secs(2),
        };
        assert!(!format!("{settings:?}").contains(password));
        let (news, inputs) = unbounded_channel();
        let server = Server::start(settings, move |input| drop(news.send((Instant::now(), input))));
        (server, News(inputs))
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

struct News(UnboundedReceiver<(Instant, Input)>);

impl News {
    async fn next(&mut self) -> (Instant, Input) {
        timeout(PATIENCE, self.0.recv()).await.expect("nothing was reported").unwrap()
    }

    async fn until(&mut self, mut wanted: impl FnMut(&Input) -> bool) -> Instant {
        let started = Instant::now();
        loop {
            let (at, input) = self.next().await;
            if wanted(&input) {
                return at;
            }
            assert!(started.elapsed() < PATIENCE, "never reported; last: {input:?}");
        }
    }

    async fn probe(&mut self, wanted: Probe, result: ProbeOutcome) -> Instant {
        self.until(|input| *input == Input::Server(ServerReport::Probe { kind: wanted, outcome: result })).await
    }

    async fn standing(&mut self, mut wanted: impl FnMut(&Standing) -> bool) {
        self.until(|input| matches!(input, Input::Server(ServerReport::Standing(standing)) if wanted(standing))).await;
    }

    fn forget(&mut self) {
        while self.0.try_recv().is_ok() {}
    }
}

/// Asks for a step, waits for its end and prints how long it took.
async fn step(
    name: &str,
    server: &Server,
    news: &mut News,
    command: impl FnOnce(Ticket) -> Command,
) -> Result<Duration, String> {
    let ticket = Ticket(NEXT_TICKET.fetch_add(1, Ordering::Relaxed));
    let started = Instant::now();
    server.commands().send(command(ticket));
    let mut ended = None;
    let at = news
        .until(|input| {
            if let Input::Done { ticket: of, result } = input
                && *of == ticket
            {
                ended = Some(result.clone());
            }
            ended.is_some()
        })
        .await;
    let took = at - started;
    println!("{name}: {took:?} {ended:?}");
    ended.unwrap().map(|()| took).map_err(|failure| failure.0)
}

/// A client that writes without a pause and comes back whenever it is thrown out.
async fn write_on(socket: PathBuf, number: u32) {
    let opts = OptsBuilder::default().user(Some("app")).pass(Some("app")).socket(Some(socket.to_str().unwrap()));
    let mut id = 200_000 + number * 100_000;
    loop {
        let Ok(mut conn) = Conn::new(opts.clone()).await else { continue };
        while conn.query_drop(format!("INSERT INTO shop.ledger VALUES ({id}, 'storm')")).await.is_ok() {
            id += 1;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn the_end_of_the_process_is_known_at_once_and_a_new_one_is_found() {
    let Some(mut mariadb) = Mariadb::start(1) else { return };
    drop(mariadb.seed().await);
    let (server, mut news) = mariadb.watch("secret");
    let mut facts = server.facts();
    for _ in 0..2 {
        let pid = i32::try_from(mariadb.child.id()).unwrap();
        timeout(PATIENCE, facts.wait_for(|facts| facts.pid == Some(pid))).await.unwrap().unwrap();
        news.probe(Probe::Ping, ProbeOutcome::Passed).await;
        // An independent witness of the exit: a thread that waits for the child without reaping it.
        let witness = std::thread::spawn(move || {
            let id = nix::sys::wait::Id::Pid(Pid::from_raw(pid));
            let flags = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
            nix::sys::wait::waitid(id, flags).unwrap();
            Instant::now()
        });
        let killed = Instant::now();
        mariadb.signal(Signal::SIGKILL);
        let died = news.until(|input| *input == Input::Server(ServerReport::Died(Death::ProcessExited))).await;
        let exited = witness.join().unwrap();
        println!("killed, exit after {:?}, reported after {:?}", exited - killed, died - killed);
        assert!(died.saturating_duration_since(exited) < Duration::from_millis(20));
        news.probe(Probe::Connect, ProbeOutcome::Failed(Fault::Refused)).await;
        mariadb.restart(1);
        news.probe(Probe::Connect, ProbeOutcome::Passed).await;
    }
}

#[tokio::test]
async fn a_stopped_process_misses_two_deadlines_of_each_kind() {
    let Some(mariadb) = Mariadb::start(1) else { return };
    drop(mariadb.seed().await);
    let (server, mut news) = mariadb.watch("secret");
    news.probe(Probe::Ping, ProbeOutcome::Passed).await;
    news.probe(Probe::Connect, ProbeOutcome::Passed).await;
    let stopped = Instant::now();
    mariadb.signal(Signal::SIGSTOP);
    let timed_out = ProbeOutcome::Failed(Fault::TimedOut);
    let (mut ping, mut connect) = (0, 0);
    let at = news
        .until(|input| {
            ping += u32::from(*input == Input::Server(ServerReport::Probe { kind: Probe::Ping, outcome: timed_out }));
            connect +=
                u32::from(*input == Input::Server(ServerReport::Probe { kind: Probe::Connect, outcome: timed_out }));
            ping >= 2 && connect >= 2
        })
        .await;
    println!("hung: two failures of each kind after {:?}", at - stopped);
    assert!(at - stopped < PROBE_TIMEOUT * 2 + Duration::from_millis(200));
    let [(_, ping), (_, connect), (_, write)] = server.probe_times().by_kind();
    assert!(ping.sum >= PROBE_TIMEOUT * 2 && connect.sum >= PROBE_TIMEOUT * 2, "{ping:?} {connect:?}");
    assert_eq!(write.count, 0, "a server that was never opened is not written to");
    mariadb.signal(Signal::SIGCONT);
    news.probe(Probe::Ping, ProbeOutcome::Passed).await;
}

#[tokio::test]
async fn a_wrong_password_is_a_doubt_and_a_global_lock_is_no_failure() {
    let Some(mariadb) = Mariadb::start(1) else { return };
    let mut root = mariadb.seed().await;
    {
        let (_server, mut news) = mariadb.watch("not-this-one");
        news.probe(Probe::Connect, ProbeOutcome::Inconclusive(Doubt::CredentialsRefused)).await;
        news.probe(Probe::Ping, ProbeOutcome::Inconclusive(Doubt::CredentialsRefused)).await;
    }
    let (server, mut news) = mariadb.watch("secret");
    step("open", &server, &mut news, |ticket| Command::Open { ticket }).await.unwrap();
    news.probe(Probe::Write, ProbeOutcome::Passed).await;
    root.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();
    news.forget();
    let started = Instant::now();
    let mut doubts = 0;
    while started.elapsed() < Duration::from_millis(1500) {
        let (_, input) = news.next().await;
        if let Input::Server(ServerReport::Probe { kind, outcome }) = input {
            assert!(!matches!(outcome, ProbeOutcome::Failed(_)), "{kind:?} {outcome:?}");
            doubts += u32::from(outcome == ProbeOutcome::Inconclusive(Doubt::ReadOnly));
        }
    }
    assert!(doubts > 3, "{doubts}");
    root.query_drop("UNLOCK TABLES").await.unwrap();
    news.probe(Probe::Write, ProbeOutcome::Passed).await;
}

#[tokio::test]
async fn a_replicating_pair_goes_through_every_step() {
    let (Some(source), Some(standby)) = (Mariadb::start(1), Mariadb::start(2)) else { return };
    let (mut source_root, mut root) = (source.seed().await, standby.seed().await);
    root.query_drop("SET GLOBAL read_only = 1").await.unwrap();
    root.query_drop(format!(
        "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='repl', MASTER_PASSWORD='repl', \
         MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1",
        source.port
    ))
    .await
    .unwrap();
    root.query_drop("START SLAVE").await.unwrap();
    let (server, mut news) = standby.watch("secret");
    let caught_up = |standing: &Standing| {
        standing.replication.as_ref().is_some_and(|replication| {
            replication.receiver == Receiver::Connected && replication.applying && replication.lag.is_some()
        })
    };
    news.standing(caught_up).await;

    // Load whose application is held up: all of it is received, and has to be applied before the server is opened.
    source_root.query_drop("INSERT INTO shop.ledger VALUES (0, 'first')").await.unwrap();
    while root.query_first::<u32, _>("SELECT COUNT(*) FROM shop.ledger").await.unwrap() != Some(1) {
        sleep(Duration::from_millis(5)).await;
    }
    root.query_drop("LOCK TABLES shop.ledger READ").await.unwrap();
    for id in 1..=500 {
        source_root.query_drop(format!("INSERT INTO shop.ledger VALUES ({id}, 'row')")).await.unwrap();
    }
    let settle = Some(Duration::from_millis(25));
    step("stop receiving", &server, &mut news, |ticket| Command::StopReceiving { ticket, settle }).await.unwrap();
    source_root.query_drop("INSERT INTO shop.ledger VALUES (9999, 'after the stop')").await.unwrap();
    let commands = server.commands();
    let unlock = async {
        sleep(Duration::from_millis(200)).await;
        root.query_drop("UNLOCK TABLES").await.unwrap();
    };
    let (drained, ()) = tokio::join!(step("drain 500", &server, &mut news, |ticket| Command::Drain { ticket }), unlock);
    assert!(drained.unwrap() >= Duration::from_millis(200));
    let rows: Option<u32> = root.query_first("SELECT COUNT(*) FROM shop.ledger").await.unwrap();
    assert_eq!(rows, Some(501), "all that was received, and nothing that was sent later");
    let again = step("drain nothing", &server, &mut news, |ticket| Command::Drain { ticket }).await.unwrap();
    assert!(again < Duration::from_millis(50), "{again:?}");
    step("open, first time", &server, &mut news, |ticket| Command::Open { ticket }).await.unwrap();
    news.standing(|standing| standing.writable).await;
    news.probe(Probe::Write, ProbeOutcome::Passed).await;

    // A client in the middle of a transaction, and one that holds a lock, do not keep the server writable.
    let mut client = standby.login("app", "app").await;
    client.query_drop("BEGIN").await.unwrap();
    client.query_drop("INSERT INTO shop.ledger VALUES (100000, 'never committed')").await.unwrap();
    let mut locker = standby.login("app", "app").await;
    locker.query_drop("LOCK TABLES shop.held WRITE").await.unwrap();
    // The other server's receiver before it asks for the binary log; killed then, it gives up for good (error 1595).
    let address = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(standby.port);
    let mut handshake = Conn::new(address.prefer_socket(false).user(Some("repl")).pass(Some("repl"))).await.unwrap();
    step("fence with sessions", &server, &mut news, |ticket| Command::Fence { ticket }).await.unwrap();
    assert!(client.query_drop("COMMIT").await.is_err());
    handshake.query_drop("SELECT 1").await.expect("a receiver that is about to begin is spared");
    news.standing(|standing| !standing.writable).await;
    news.forget();
    sleep(Duration::from_millis(200)).await;
    while let Ok((_, input)) = news.0.try_recv() {
        assert!(!matches!(input, Input::Server(ServerReport::Probe { kind: Probe::Write, .. })), "{input:?}");
    }

    commands.send(Command::ResumeReceiving);
    news.standing(caught_up).await;
    let mut root = standby.login("root", "").await;
    let started = Instant::now();
    while root.query_first::<u32, _>("SELECT COUNT(*) FROM shop.ledger").await.unwrap() != Some(502) {
        assert!(started.elapsed() < PATIENCE);
        sleep(Duration::from_millis(5)).await;
    }

    // A second, idle round: what a caught-up standby needs for a takeover.
    step("stop receiving", &server, &mut news, |ticket| Command::StopReceiving { ticket, settle: None }).await.unwrap();
    step("drain", &server, &mut news, |ticket| Command::Drain { ticket }).await.unwrap();
    step("open", &server, &mut news, |ticket| Command::Open { ticket }).await.unwrap();
    // Clients that come back at once and go on writing cannot keep the server from becoming read-only.
    let storm: Vec<_> = (0..4).map(|number| tokio::spawn(write_on(standby.folder.join("socket"), number))).collect();
    sleep(Duration::from_millis(300)).await;
    step("fence under load", &server, &mut news, |ticket| Command::Fence { ticket }).await.unwrap();
    let mut root = standby.login("root", "").await;
    let count = "SELECT COUNT(*) FROM shop.ledger WHERE id >= 200000";
    let fenced: Option<u32> = root.query_first(count).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(root.query_first::<u32, _>(count).await.unwrap(), fenced);
    assert!(fenced.unwrap() > 50, "{fenced:?}");
    storm.iter().for_each(tokio::task::JoinHandle::abort);
    commands.send(Command::ResumeReceiving);
    news.standing(caught_up).await;

    // What cannot be applied fails the drain at once, and the relay log is kept for whoever repairs it.
    let mut root = standby.login("root", "").await;
    root.query_drop("STOP SLAVE SQL_THREAD").await.unwrap();
    source_root.query_drop("INSERT INTO shop.ledger VALUES (10000, 'unapplied')").await.unwrap();
    sleep(Duration::from_millis(300)).await;
    step("stop receiving", &server, &mut news, |ticket| Command::StopReceiving { ticket, settle }).await.unwrap();
    let failure = step("drain, stopped", &server, &mut news, |ticket| Command::Drain { ticket }).await.unwrap_err();
    assert!(failure.contains("applier has stopped"), "{failure}");
    commands.send(Command::ResumeReceiving);
    let mut facts = server.facts();
    let refused = |facts: &vipd::mysql::ServerFacts| {
        facts.last_error.as_ref().is_some_and(|error| error.contains("throw the relay log away"))
    };
    timeout(PATIENCE, facts.wait_for(refused)).await.unwrap().unwrap();
}
