//! The control socket: one line of JSON asks, one line of JSON answers.

use std::io::{self, BufRead, BufReader as StdBufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::status::Status;

/// How long either side waits for the other.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest request, in bytes.
const MAX_REQUEST: u64 = 4096;
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 16 << 20;
/// Requests that are answered at the same time; others wait.
const MAX_CONNECTIONS: usize = 16;
/// The owner and the group may connect.
const MODE: u32 = 0o660;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {operation} the control socket {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another agent answers at {} already: stop it, or give this one its own control.socket", path.display())]
    InUse { path: PathBuf },
    #[error("{} exists and is no socket: remove it, or change control.socket", path.display())]
    NotASocket { path: PathBuf },
    #[error(
        "no agent answers at {}: is it running (systemctl status vipd), and is this its control.socket (--config, --socket)?",
        path.display()
    )]
    NoAgent { path: PathBuf },
    #[error("this user may not connect to {}: use root, or a user of the socket's group (ls -l {})", path.display(), path.display())]
    PermissionDenied { path: PathBuf },
    #[error("the agent refused the request ({word}): {message}")]
    Refused { word: String, message: String },
    #[error("the answer of the agent is not understood: is it of another version?")]
    Answer(#[source] serde_json::Error),
}

impl Error {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
enum Request {
    Status {},
}

/// Why a client does not get what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Refusal {
    /// A stable word.
    error: String,
    message: String,
}

/// The listening side; it removes its socket when dropped.
#[derive(Debug)]
pub struct Server {
    listener: StdUnixListener,
    path: PathBuf,
    inode: u64,
}

impl Server {
    /// Makes the socket, in the place of one that nobody listens at any more.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io("create the directory of", path))?;
        }
        match StdUnixStream::connect(path) {
            Ok(_) => return Err(Error::InUse { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !is_socket(path) => {
                return Err(Error::NotASocket { path: path.to_owned() });
            }
            // A stale socket, or none.
            Err(_) => {}
        }
        // Nobody finds the socket before its mode is right, and it takes the place of a stale one at once.
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("replace", &draft)(error)),
            Ok(()) | Err(_) => {}
        }
        let listener = StdUnixListener::bind(&draft).map_err(Error::io("bind", path))?;
        listener.set_nonblocking(true).map_err(Error::io("set up", path))?;
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(MODE))
            .map_err(Error::io("set the mode of", path))?;
        let inode = std::fs::metadata(&draft).map_err(Error::io("examine", path))?.ino();
        std::fs::rename(&draft, path).map_err(Error::io("put in place", path))?;
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// Answers requests until the task is dropped; `status` must not block. Needs a tokio runtime with I/O and time.
    pub async fn serve(self, status: impl Fn() -> Arc<Status> + Send + Sync + 'static) -> Result<(), Error> {
        let listener = self.listener.try_clone().map_err(Error::io("share", &self.path))?;
        let listener = UnixListener::from_std(listener).map_err(Error::io("register", &self.path))?;
        let group = std::fs::metadata(&self.path).map_err(Error::io("examine", &self.path))?.gid();
        let status = Arc::new(status);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection at the control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let status = Arc::clone(&status);
            tokio::spawn(async move {
                match tokio::time::timeout(DEADLINE, answer(stream, group, &*status)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a client of the control socket went away"),
                    Err(_) => tracing::debug!("a client of the control socket was too slow"),
                }
                drop(place);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only its own: another agent may have taken the place meanwhile.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "cannot remove the control socket");
        }
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

async fn answer(mut stream: UnixStream, group: u32, status: &(impl Fn() -> Arc<Status> + Sync)) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let mut line = String::new();
    BufReader::new((&mut stream).take(MAX_REQUEST)).read_line(&mut line).await?;
    let answer = if may_read(&credentials, group) {
        match serde_json::from_str(&line) {
            Ok(Request::Status {}) => serde_json::to_string(&*status()),
            Err(error) => refusal("bad_request", &format!("not understood: {error}")),
        }
    } else {
        refusal("permission_denied", "only root, the agent's user and the socket's group may ask")
    };
    let mut answer = answer.map_err(io::Error::other)?;
    answer.push('\n');
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn refusal(error: &str, message: &str) -> serde_json::Result<String> {
    serde_json::to_string(&Refusal { error: error.to_owned(), message: message.to_owned() })
}

/// The mode of the socket says the same; this holds where somebody has changed it.
fn may_read(peer: &UCred, group: u32) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    peer.uid() == 0
        || peer.uid() == own
        || peer.gid() == group
        || peer.pid().is_some_and(|pid| supplementary_groups(pid).contains(&group))
}

/// The further groups of a process, from proc_pid_status(5).
fn supplementary_groups(pid: i32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    groups.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}

/// Asks the agent at a socket for its status.
pub fn request_status(path: &Path) -> Result<Status, Error> {
    let answer = request(path, Request::Status {})?;
    if let Ok(Refusal { error: word, message }) = serde_json::from_str(&answer) {
        return Err(Error::Refused { word, message });
    }
    serde_json::from_str(&answer).map_err(Error::Answer)
}

/// Whether an agent accepts connections at a socket.
#[must_use]
pub fn is_answered(path: &Path) -> bool {
    StdUnixStream::connect(path).is_ok()
}

fn request(path: &Path, request: Request) -> Result<String, Error> {
    let mut stream = StdUnixStream::connect(path).map_err(|error| {
        let (kind, path) = (error.kind(), path.to_owned());
        if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            Error::NoAgent { path }
        } else if kind == io::ErrorKind::PermissionDenied {
            Error::PermissionDenied { path }
        } else {
            Error::Io { operation: "connect to", path, source: error }
        }
    })?;
    let deadlines = stream.set_read_timeout(Some(DEADLINE)).and_then(|()| stream.set_write_timeout(Some(DEADLINE)));
    deadlines.map_err(Error::io("set up", path))?;
    let mut line = serde_json::to_string(&request).map_err(Error::Answer)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(Error::io("write to", path))?;
    let mut answer = String::new();
    StdBufReader::new(stream.take(MAX_ANSWER)).read_line(&mut answer).map_err(Error::io("read from", path))?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::example;

    fn socket(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("vipd-control-{}-{name}", std::process::id())).join("vipd.sock")
    }

    /// An agent on a thread of its own, until it is dropped.
    struct Agent {
        stop: Option<tokio::sync::oneshot::Sender<()>>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Agent {
        fn start(path: &Path) -> Self {
            let server = Server::bind(path).unwrap();
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let thread = std::thread::spawn(move || {
                let status = Arc::new(example());
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    tokio::select! {
                        ended = server.serve(move || Arc::clone(&status)) => ended.unwrap(),
                        _ = stopped => {}
                    }
                });
            });
            Self { stop: Some(stop), thread: Some(thread) }
        }
    }

    impl Drop for Agent {
        fn drop(&mut self) {
            drop(self.stop.take());
            self.thread.take().unwrap().join().unwrap();
        }
    }

    fn remove(path: &Path) {
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn answers_with_the_status() {
        let path = socket("status");
        let agent = Agent::start(&path);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        for _ in 0..3 {
            assert_eq!(request_status(&path).unwrap(), example());
        }
        assert!(matches!(Server::bind(&path), Err(Error::InUse { .. })));
        assert_eq!(request_status(&path).unwrap(), example());
        drop(agent);
        assert!(!path.exists(), "the socket is left behind");
        remove(&path);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let path = socket("unknown");
        let agent = Agent::start(&path);
        for request in ["{\"command\":\"reboot\"}\n", "hello\n", "\n", "{\"command\":\"status\",\"more\":1}\n"] {
            let mut stream = StdUnixStream::connect(&path).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let refusal: Refusal = serde_json::from_str(&answer).unwrap();
            assert_eq!(refusal.error, "bad_request", "{request}");
        }
        drop(agent);
        remove(&path);
    }

    #[test]
    fn replaces_a_stale_socket_and_nothing_else() {
        let path = socket("stale");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(matches!(request_status(&path), Err(Error::NoAgent { .. })));
        let server = Server::bind(&path).unwrap();
        drop(server);
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Server::bind(&path), Err(Error::NotASocket { .. })));
        remove(&path);
    }

    #[test]
    fn says_that_no_agent_is_there() {
        let message = request_status(Path::new("/nonexistent/vipd.sock")).unwrap_err().to_string();
        assert!(message.contains("/nonexistent/vipd.sock") && message.contains("systemctl status vipd"), "{message}");
    }
}
