//! Messages to the service manager (sd_notify(3)).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager; without one, messages go nowhere.
#[derive(Debug)]
pub struct ServiceManager {
    way: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    /// Takes the way from `$NOTIFY_SOCKET`, a path or, after an `@`, an abstract name.
    #[must_use]
    pub fn from_environment() -> Self {
        let way = std::env::var_os("NOTIFY_SOCKET").and_then(|name| way_to(name.as_bytes()).ok());
        Self { way }
    }

    /// The agent is up.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The agent is on its way out.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The agent lives.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// A line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.way
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::debug!(%error, message, "the service manager cannot be told");
        }
    }
}

fn way_to(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that is busy must not hold the agent up.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// How often the service manager wants to hear [`ServiceManager::watchdog`]: half of `$WATCHDOG_USEC`.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|usec| *usec > 0).map(|usec| Duration::from_micros(usec / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer.get(..length).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn reaches_an_abstract_socket() {
        let name = format!("vipd-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let manager = ServiceManager { way: Some(way_to(format!("@{name}").as_bytes()).unwrap()) };
        manager.ready();
        manager.status("two\nlines");
        assert_eq!(hear(&socket), "READY=1");
        assert_eq!(hear(&socket), "STATUS=two lines");
    }

    #[test]
    fn reaches_a_path() {
        let path = std::env::temp_dir().join(format!("vipd-notify-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager { way: Some(way_to(path.as_os_str().as_bytes()).unwrap()) };
        manager.watchdog();
        manager.stopping();
        assert_eq!(hear(&socket), "WATCHDOG=1");
        assert_eq!(hear(&socket), "STOPPING=1");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        ServiceManager { way: None }.ready();
    }
}
