use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, IoError, Opts, OptsBuilder, Row};
use tokio::time::{Instant, sleep, timeout_at};

use super::dialect::{self, Dialect, LockWait};
use super::{Endpoint, Error, ServerSettings};

/// Where the server is and who asks.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) server: String,
    pub(super) user: String,
    opts: Opts,
}

impl Account {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        let opts = OptsBuilder::default()
            .user(Some(settings.user.clone()))
            .pass(Some(settings.password.expose()))
            .prefer_socket(false)
            // Known, so that a connection does not begin with asking for them.
            .max_allowed_packet(Some(16 << 20))
            .wait_timeout(Some(28_800))
            .stmt_cache_size(0)
            .tcp_nodelay(true);
        let opts = match &settings.endpoint {
            Endpoint::Unix(path) => opts.socket(Some(path.to_string_lossy())),
            Endpoint::Tcp(address) => opts.ip_or_hostname(address.ip().to_string()).tcp_port(address.port()),
        };
        Self { server: settings.endpoint.to_string(), user: settings.user.clone(), opts: opts.into() }
    }

    pub(super) async fn connect(&self, limit: Duration) -> Result<Conn, Error> {
        let deadline = Instant::now() + limit;
        let connected = timeout_at(deadline, async {
            loop {
                match Conn::new(self.opts.clone()).await {
                    // A UNIX socket whose backlog is full says so at once, where TCP would wait.
                    Err(mysql_async::Error::Io(IoError::Io(error)))
                        if error.kind() == std::io::ErrorKind::WouldBlock =>
                    {
                        sleep(Duration::from_millis(5)).await;
                    }
                    result => return result,
                }
            }
        });
        self.answer("connect", limit, connected.await)
    }

    fn answer<T>(
        &self,
        operation: &str,
        limit: Duration,
        result: Result<mysql_async::Result<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, Error> {
        let (server, operation) = (self.server.clone(), operation.to_owned());
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(Error::Failed { server, operation, source }),
            Err(_) => Err(Error::TimedOut { server, operation, limit }),
        }
    }
}

/// A connection that is kept, and made again when it was lost.
#[derive(Debug)]
pub(super) struct Session {
    account: Arc<Account>,
    open: Option<(Conn, Dialect, String)>,
    lock_wait: LockWait,
}

impl Session {
    pub(super) fn new(account: Arc<Account>, lock_wait: LockWait) -> Self {
        Self { account, open: None, lock_wait }
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// The server's number of this connection.
    pub(super) fn id(&self) -> Option<u32> {
        self.open.as_ref().map(|(conn, ..)| conn.id())
    }

    pub(super) fn version(&self) -> Option<(Dialect, &str)> {
        self.open.as_ref().map(|(_, dialect, version)| (*dialect, version.as_str()))
    }

    /// The words of the server; connects if need be.
    pub(super) async fn dialect(&mut self, limit: Duration) -> Result<Dialect, Error> {
        if let Some((_, dialect, _)) = &self.open {
            return Ok(*dialect);
        }
        let started = Instant::now();
        let left = || limit.saturating_sub(started.elapsed());
        let account = Arc::clone(&self.account);
        let mut conn = account.connect(limit).await?;
        let deadline = Instant::now() + left();
        let version = timeout_at(deadline, conn.query_first::<String, _>(dialect::VERSION)).await;
        let version = account.answer(dialect::VERSION, limit, version)?.unwrap_or_default();
        let dialect = Dialect::parse(&version);
        let statement = dialect.lock_wait(self.lock_wait);
        let done = timeout_at(deadline, conn.query_drop(statement)).await;
        account.answer(statement, limit, done)?;
        self.open = Some((conn, dialect, version));
        Ok(dialect)
    }

    /// Makes sure that the connection is alive, so that what follows does not fail for an old reason.
    pub(super) async fn warm(&mut self, limit: Duration) -> Result<Dialect, Error> {
        if self.open.is_some() && self.run(dialect::PING, limit).await.is_ok() {
            return self.dialect(limit).await;
        }
        self.open = None;
        self.dialect(limit).await
    }

    /// Runs a statement and gives its rows; a connection that did not answer in time is dropped.
    pub(super) async fn query(&mut self, statement: &str, limit: Duration) -> Result<Vec<Row>, Error> {
        Ok(self.execute(statement, limit).await?.0)
    }

    /// Runs a statement and gives the number of rows that it changed.
    pub(super) async fn run(&mut self, statement: &str, limit: Duration) -> Result<u64, Error> {
        Ok(self.execute(statement, limit).await?.1)
    }

    async fn execute(&mut self, statement: &str, limit: Duration) -> Result<(Vec<Row>, u64), Error> {
        let started = Instant::now();
        self.dialect(limit).await?;
        // Taken out while it is in use: whoever is cancelled in the middle leaves no half-read connection behind.
        let Some((mut conn, dialect, version)) = self.open.take() else {
            return Err(Error::TimedOut {
                server: self.account.server.clone(),
                operation: statement.to_owned(),
                limit,
            });
        };
        let result = timeout_at(started + limit, conn.query::<Row, _>(statement)).await;
        let result = self.account.answer(statement, limit, result);
        let changed = conn.affected_rows();
        if result.as_ref().map_or_else(Error::leaves_connection, |_| true) {
            self.open = Some((conn, dialect, version));
        }
        Ok((result?, changed))
    }

    /// The first column of the first row as text; `None` for NULL.
    pub(super) async fn scalar(&mut self, statement: &str, limit: Duration) -> Result<Option<String>, Error> {
        let rows = self.query(statement, limit).await?;
        Ok(rows.first().and_then(|row| text_at(row, 0)))
    }

    pub(super) fn forget(&mut self) {
        self.open = None;
    }
}

fn text_at(row: &Row, index: usize) -> Option<String> {
    row.get_opt::<Option<String>, _>(index).and_then(Result::ok).flatten()
}

/// The first of these columns that the row has, as text; `None` for NULL.
pub(super) fn text(row: &Row, names: &[&str]) -> Option<String> {
    let columns = row.columns_ref();
    let index =
        names.iter().find_map(|name| columns.iter().position(|column| column.name_str().eq_ignore_ascii_case(name)))?;
    text_at(row, index)
}
