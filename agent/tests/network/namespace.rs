//! Hosts for the tests: network namespaces joined by a veth pair.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// Two hosts, `a` and `b`, each with the interface `v0`: 192.0.2.1/24 and 192.0.2.2/24, fd00::1/64 and fd00::2/64.
pub(crate) struct Pair {
    pub(crate) a: Host,
    pub(crate) b: Host,
}

impl Pair {
    /// `None`, said aloud, where the test lacks the privileges for it.
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: network namespaces need root");
            return None;
        }
        let pair = Self { a: Host::new("a"), b: Host::new("b") };
        pair.make_link();
        Some(pair)
    }

    /// Joins the hosts, as at first.
    pub(crate) fn make_link(&self) {
        let Self { a, b } = self;
        ip(&format!("link add v0 netns {} address 02:00:00:00:00:01 type veth peer name v0 netns {}", a.name, b.name));
        for (host, number) in [(a, 1), (b, 2)] {
            let name = &host.name;
            ip(&format!("-n {name} link set v0 address 02:00:00:00:00:0{number}"));
            ip(&format!("-n {name} address add 192.0.2.{number}/24 dev v0"));
            ip(&format!("-n {name} address add fd00::{number}/64 dev v0 nodad"));
            // Without duplicate address detection the link-local address can be used at once.
            host.run(|| std::fs::write("/proc/sys/net/ipv6/conf/v0/accept_dad", "0").unwrap());
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} link set v0 up"));
        }
        // IPv6 starts when the kernel has told itself of the carrier, up to a second later.
        let began = Instant::now();
        while [a, b].iter().any(|host| host.ip("-6 route show table local").matches("ff00::/8").count() == 0) {
            assert!(began.elapsed() < Duration::from_secs(5), "IPv6 does not start");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

pub(crate) struct Host {
    pub(crate) name: String,
}

impl Host {
    fn new(role: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vipd-net-{}-{}-{role}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&format!("netns add {name}"));
        Self { name }
    }

    /// Runs `body` on a thread of its own inside the host.
    pub(crate) fn run<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        let inside = || {
            setns(File::open(format!("/run/netns/{}", self.name)).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            body()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// As [`Self::run`], inside a runtime as the election thread has it.
    pub(crate) fn run_async<R: Send>(&self, body: impl AsyncFnOnce() -> R + Send) -> R {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(body())
        })
    }

    /// The output of `ip` inside the host.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.name))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
