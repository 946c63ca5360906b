//! One long look at the server, for `vipd doctor`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Row;

use super::dialect::{self, Dialect, LockWait};
use super::session::{Account, Session, text};
use super::{Error, ServerSettings};

/// What the server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    pub dialect: Dialect,
    /// Global variables by name, in lower case; a variable that the version does not have is not there.
    pub variables: BTreeMap<String, String>,
    pub channels: Vec<Channel>,
    /// As `SHOW GRANTS` prints them, in upper case.
    pub grants: Vec<String>,
}

/// A stream from another server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    pub name: String,
    pub source: String,
    pub source_server_id: String,
    pub receiving: bool,
    pub applying: bool,
    pub error: String,
    /// Whether positions are GTIDs.
    pub by_gtid: bool,
    /// What is not replicated, in the server's words.
    pub filters: Vec<String>,
}

/// Asks all questions; nothing is changed.
pub async fn inspect(settings: &ServerSettings, limit: Duration) -> Result<Inspection, Error> {
    let mut session = Session::new(Arc::new(Account::new(settings)), LockWait::OneSecond);
    let dialect = session.dialect(limit).await?;
    let variables = session.query(dialect::VARIABLES, limit).await?;
    let variables = variables.iter().filter_map(|row| {
        Some((text(row, &["Variable_name"])?.to_lowercase(), text(row, &["Value"]).unwrap_or_default()))
    });
    let variables = variables.collect();
    let channels = session.query(dialect.replication_status(), limit).await?;
    let grants = session.query(dialect::GRANTS, limit).await?;
    let grants = grants.iter().filter_map(|row| {
        // The only column is named after the account.
        row.get_opt::<String, _>(0).and_then(Result::ok).map(|grant| grant.to_uppercase())
    });
    let grants = grants.collect();
    Ok(Inspection { dialect, variables, channels: channels.iter().map(Channel::from_row).collect(), grants })
}

impl Channel {
    fn from_row(row: &Row) -> Self {
        let said = |names: &[&str]| text(row, names).unwrap_or_default();
        let runs = |names: &[&str]| said(names) == "Yes";
        let filters = [
            "Replicate_Do_DB",
            "Replicate_Ignore_DB",
            "Replicate_Do_Table",
            "Replicate_Ignore_Table",
            "Replicate_Wild_Do_Table",
            "Replicate_Wild_Ignore_Table",
        ];
        let filters = filters.into_iter().filter_map(|name| {
            let value = said(&[name]);
            (!value.is_empty()).then(|| format!("{name} = {value}"))
        });
        let errors = [said(&["Last_IO_Error"]), said(&["Last_SQL_Error"])];
        let gtid = said(&["Using_Gtid", "Auto_Position"]);
        Self {
            name: said(&["Channel_Name", "Connection_name"]),
            source: format!("{}:{}", said(&["Source_Host", "Master_Host"]), said(&["Source_Port", "Master_Port"])),
            source_server_id: said(&["Source_Server_Id", "Master_Server_Id"]),
            receiving: runs(&["Replica_IO_Running", "Slave_IO_Running"]),
            applying: runs(&["Replica_SQL_Running", "Slave_SQL_Running"]),
            error: errors.into_iter().find(|error| !error.is_empty()).unwrap_or_default(),
            by_gtid: !matches!(gtid.as_str(), "No" | "0" | ""),
            filters: filters.collect(),
        }
    }
}
