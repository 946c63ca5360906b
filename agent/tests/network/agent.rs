//! `vipd run` on a host of the tests, without a server.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::namespace::Host;

/// How long anything may take that the agent does by itself, on a machine that runs all tests at once.
const SOON: Duration = Duration::from_secs(8);

/// A running agent; killed and its files removed on drop.
pub(crate) struct Agent {
    child: Child,
    folder: PathBuf,
    pins: PathBuf,
}

impl Agent {
    /// Starts an agent for virtual router 51 on `v0` with 192.0.2.150/24, or what `router` says besides.
    pub(crate) fn start(host: &Host, mode: &str, router: &str) -> Self {
        let folder = PathBuf::from(format!("/run/{}", host.name));
        fs::create_dir_all(&folder).unwrap();
        let pins = PathBuf::from(format!("/sys/fs/bpf/{}", host.name));
        let addresses = if router.contains("addresses") { "" } else { "addresses = [\"192.0.2.150/24\"]\n" };
        let text = format!(
            "[node]\nname = \"{}\"\n[[virtual_router]]\nname = \"test\"\ninterface = \"v0\"\nvrid = 51\n\
             advertisement_interval = \"300ms\"\n{addresses}{router}\n\
             [datapath]\nmode = \"{mode}\"\n[control]\nsocket = \"{}\"\npin_dir = \"{}\"\n",
            host.name,
            folder.join("control").display(),
            pins.display()
        );
        fs::write(folder.join("vipd.toml"), text).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", host.name))
            .arg(env!("CARGO_BIN_EXE_vipd"))
            .args(["run", "--config"]);
        command.arg(folder.join("vipd.toml")).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self { child: command.spawn().unwrap(), folder, pins }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Asks for the status; null while the agent does not answer.
    pub(crate) fn status(&mut self) -> Value {
        assert_eq!(self.child.try_wait().unwrap(), None, "the agent has ended: {}", self.log());
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipd"));
        command.args(["status", "--json", "--socket"]).arg(self.folder.join("control"));
        let answer = command.arg("--config").arg(self.folder.join("vipd.toml")).output().unwrap();
        serde_json::from_slice(&answer.stdout).unwrap_or_default()
    }

    pub(crate) fn router(&mut self) -> Value {
        self.status()["virtual_routers"][0].clone()
    }

    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let router = self.router();
            if holds(&router) {
                return router;
            }
            assert!(began.elapsed() < SOON, "never {what}: {router:#}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    pub(crate) fn wait_serving(&mut self) -> Value {
        self.wait_until("serving", |router| router["serving"] == true)
    }

    #[track_caller]
    pub(crate) fn wait_hindered(&mut self, by: &str) -> Value {
        self.wait_until(by, |router| router["hindrance"] == by && router["state"] == "initialize")
    }

    /// Lets the agent hand over and end.
    pub(crate) fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        fs::remove_dir_all(&self.folder).ok();
        vipd::datapath::cleanup(&self.pins).ok();
    }
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn wait_for(what: &str, holds: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}

/// Where a host finds an address, after it has asked.
pub(crate) fn neighbour(host: &Host, address: &str) -> String {
    host.run(|| UdpSocket::bind("[::]:0").unwrap().send_to(b"?", (address, 9)).ok());
    host.ip(&format!("neigh show {address} dev v0"))
}
