//! Tells a check of the database server from other commands.

const SERVERS: [&str; 4] = ["mysqld", "mariadbd", "mysqld_safe", "mysqld_multi"];
const SERVICES: [&str; 8] = [
    "mysql",
    "mysqld",
    "mariadb",
    "mariadbd",
    "mysql.service",
    "mysqld.service",
    "mariadb.service",
    "mariadbd.service",
];
const LOOK_FOR_PROCESS: [&str; 3] = ["killall", "pgrep", "pidof"];
const CLIENTS: [&str; 4] = ["mysqladmin", "mariadb-admin", "mysql", "mariadb"];

/// What a command has to do with the server of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// It only asks whether the server runs or answers.
    Server,
    /// Its name speaks of the server; what it does is not known.
    Perhaps,
    Other,
}

pub(super) fn is_server_process(name: &str) -> bool {
    SERVERS.contains(&base_name(name))
}

pub(super) fn subject(command: &str) -> Subject {
    let words: Vec<&str> = command
        .split(|letter: char| letter.is_whitespace() || "\"'`$();&|<>".contains(letter))
        .filter(|word| !word.is_empty())
        .collect();
    let has = |names: &[&str]| words.iter().any(|word| names.contains(&base_name(word)));
    // `[m]ysqld` is how a grep avoids to find itself.
    let names_server = words.iter().any(|word| is_server_process(&word.replace(['[', ']', '^'], "")));
    let looks = has(&LOOK_FOR_PROCESS) || (has(&["ps"]) && has(&["grep"]));
    let asks_service = has(&["systemctl", "service"]) && has(&SERVICES) && has(&["is-active", "status"]);
    let asks_server = words.first().is_some_and(|first| CLIENTS.contains(&base_name(first)));
    if (looks && names_server) || asks_service || asks_server {
        Subject::Server
    } else if ["mysql", "mariadb"].iter().any(|name| command.to_ascii_lowercase().contains(name)) {
        Subject::Perhaps
    } else {
        Subject::Other
    }
}

fn base_name(word: &str) -> &str {
    word.rsplit_once('/').map_or(word, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_for_the_server_is_known() {
        for command in [
            "/usr/bin/killall -0 mysqld",
            "killall -0 mariadbd",
            "pgrep -x mysqld",
            "pidof mariadbd",
            "/bin/pidof /usr/sbin/mysqld",
            "mysqladmin ping",
            "/usr/bin/mysql -u check -e 'select 1'",
            "systemctl is-active --quiet mariadb",
            "sh -c 'ps ax | grep [m]ysqld'",
        ] {
            assert_eq!(subject(command), Subject::Server, "{command}");
        }
    }

    #[test]
    fn another_command_is_not_taken_for_one() {
        assert_eq!(subject("/etc/keepalived/check_mysql.sh"), Subject::Perhaps);
        assert_eq!(subject("systemctl restart mysqld"), Subject::Perhaps);
        assert_eq!(subject("killall -0 haproxy"), Subject::Other);
        assert_eq!(subject("/bin/true"), Subject::Other);
    }
}
