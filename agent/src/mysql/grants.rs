//! The least privileges that the agent's account needs.

use super::dialect::{Dialect, Flavour, quote};

/// Stands where the operator has to put the password.
pub const PASSWORD_PLACEHOLDER: &str = "PUT-THE-PASSWORD-HERE";

/// What the account needs on `*.*`, separated by commas.
#[must_use]
pub fn privileges(dialect: Dialect) -> &'static str {
    match dialect.flavour {
        Flavour::Mariadb if dialect.version < (10, 5, 2) => "SUPER, PROCESS, REPLICATION CLIENT",
        Flavour::Mariadb if dialect.version < (10, 5, 9) => {
            "PROCESS, BINLOG MONITOR, REPLICATION SLAVE ADMIN, READ_ONLY ADMIN, CONNECTION ADMIN"
        }
        Flavour::Mariadb => {
            "PROCESS, BINLOG MONITOR, REPLICA MONITOR, REPLICATION SLAVE ADMIN, READ_ONLY ADMIN, CONNECTION ADMIN"
        }
        Flavour::Mysql if dialect.version < (8, 0, 0) => "SUPER, PROCESS, REPLICATION CLIENT",
        Flavour::Mysql => {
            "PROCESS, REPLICATION CLIENT, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN"
        }
    }
}

/// The statements that make the account, to be run once on the writer.
#[must_use]
pub fn statements(dialect: Dialect, user: &str, host: &str) -> Vec<String> {
    let account = format!("{}@{}", quote(user), quote(host));
    let privileges = privileges(dialect);
    vec![
        format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {}", quote(PASSWORD_PLACEHOLDER)),
        format!("GRANT {privileges} ON *.* TO {account}"),
        format!("GRANT ALL PRIVILEGES ON vipd.* TO {account}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_named_and_quoted() {
        let made = statements(Dialect::parse("8.4.0"), "vi'pd", "localhost");
        assert_eq!(made[2], "GRANT ALL PRIVILEGES ON vipd.* TO 'vi''pd'@'localhost'");
        assert!(made[1].contains("SYSTEM_VARIABLES_ADMIN"));
    }
}
