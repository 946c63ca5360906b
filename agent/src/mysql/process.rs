#![expect(unsafe_code, reason = "pidfd_open has no wrapper in nix or std")]

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_core::{Death, ServerReport};
use nix::sys::socket::{MsgFlags, getsockopt, recv, sockopt::PeerCredentials};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Context, Endpoint, Error};

/// How long to wait before looking again for a process that could not be seen.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Reports the end of the process behind the endpoint; `wanted` is notified when the server let somebody in.
pub(super) async fn watch(context: Context, wanted: Arc<Notify>) {
    loop {
        wanted.notified().await;
        match find(&context).await {
            Ok(Some((pid, process))) => {
                tracing::debug!(pid, "the server's process is watched");
                context.facts.send_modify(|facts| facts.pid = Some(pid));
                if let Err(source) = process.readable().await {
                    context.note(&failure(&context, "wait for", source));
                    continue;
                }
                context.write_gate.close();
                context.report(ServerReport::Died(Death::ProcessExited));
                context.facts.send_modify(|facts| facts.pid = None);
            }
            Ok(None) => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            Err(error) => {
                context.note(&error);
                tokio::time::sleep(context.settings.probe_interval).await;
            }
        }
    }
}

fn failure(context: &Context, operation: &'static str, source: io::Error) -> Error {
    Error::Process { server: context.account.server.clone(), operation, source }
}

/// The process that listens at the endpoint; `None` where it cannot be seen from here.
async fn find(context: &Context) -> Result<Option<(i32, AsyncFd<OwnedFd>)>, Error> {
    let (pid, stream) = match &context.settings.endpoint {
        Endpoint::Unix(path) => {
            let limit = context.settings.probe_timeout;
            let connected = timeout(limit, UnixStream::connect(path)).await;
            let stream = connected
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(|source| failure(context, "connect to", source))?;
            let listener =
                getsockopt(&stream, PeerCredentials).map_err(|source| failure(context, "ask for", source.into()))?;
            (Some(listener.pid()), Some(stream))
        }
        Endpoint::Tcp(address) => {
            let address = *address;
            let pid = tokio::task::spawn_blocking(move || listener_of(address)).await.ok().flatten();
            (pid, None)
        }
    };
    // 0: in a PID namespace that is not seen from here; 1: an activated socket, which init listens on.
    let Some(pid) = pid.filter(|pid| *pid > 1) else { return Ok(None) };
    let process = open_pidfd(pid).map_err(|source| failure(context, "open", source))?;
    if let Some(stream) = stream {
        // If it has ended meanwhile the number may be another's: then the stream has ended as well.
        let mut byte = [0];
        let peeked = recv(stream.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
        if peeked == Ok(0) {
            return Err(failure(context, "hold", io::ErrorKind::ConnectionAborted.into()));
        }
    }
    // SAFETY: the descriptor is owned by the value that is handed over, and stays the same until it is dropped.
    let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
    let process = process.map_err(|source| failure(context, "watch", source.into()))?;
    Ok(Some((pid, process)))
}

/// pidfd_open(2), Linux 5.3; the descriptor is readable once the process has ended.
fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: two integers, no memory is passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The process on this host that listens at the address, by the inode of its socket.
fn listener_of(address: SocketAddr) -> Option<i32> {
    if !address.ip().is_loopback() {
        return None;
    }
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    let inode = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| table.lines().skip(1).find_map(|line| listening_inode(line, address)))?;
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        holds(&entry.path().join("fd"), &wanted).then_some(pid)
    })
}

fn holds(folder: &Path, socket: &str) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == socket))
    })
}

/// The inode in a line of `/proc/net/tcp`, if it is of a socket that listens at this port (state 0A).
fn listening_inode(line: &str, address: SocketAddr) -> Option<u64> {
    let mut fields = line.split_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let inode = fields.nth(5)?.parse().ok()?;
    let (host, port) = local.rsplit_once(':')?;
    let any = host.bytes().all(|digit| digit == b'0');
    let here = match address.ip() {
        IpAddr::V4(ip) => host == format!("{:08X}", u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(_) => host == "00000000000000000000000001000000",
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    (state == "0A" && port == address.port() && (any || here)).then_some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_loopback_is_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(listener_of(address), i32::try_from(std::process::id()).ok());
        drop(listener);
        assert_eq!(listener_of(address), None);
    }
}
