//! The log of the BPF programs in that of the agent: only where the object was built by `cargo xtask build-ebpf --log`.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "network/namespace.rs"]
mod namespace;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_wire::Vrid;
use agent_wire::vrrp::Version;
use socket2::{Domain, Protocol, Socket, Type};
use vipd::authentication::Authentication;
use vipd::datapath::{self, Choice, Datapath, Mode, Router, Settings};
use vipd::link::Interface;

use crate::namespace::Pair;

/// The agent's log, kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_the_programs_log_is_logged_at_debug() {
    let object = include_bytes!(env!("VIPD_BPF_OBJECT_PATH"));
    let logs = object.windows(8).any(|name| name == b"AYA_LOGS");
    if !logs && object.is_empty() {
        eprintln!("SKIPPED: the agent was built without the BPF object");
        return;
    }
    let Some(pair) = Pair::new() else { return };
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let pin_dir = PathBuf::from(format!("/sys/fs/bpf/vipd-log-{}", std::process::id()));
    pair.a.run_async(async || {
        let _logging = tracing::subscriber::set_default(subscriber);
        let router = Router {
            interface: "v0".into(),
            ifindex: Interface::read("v0").unwrap().index,
            vrid: Vrid::new(51).unwrap(),
            version: Version::V3,
            source: [192, 0, 2, 1].into(),
            peers: vec![[192, 0, 2, 2].into()],
            authentication: Authentication::None,
            interval: Duration::from_millis(100),
            addresses: vec![[192, 0, 2, 150].into()],
        };
        let choice = Choice::Only(Mode::Native);
        let datapath = Datapath::open(Settings { choice, routers: vec![router], pin_dir: pin_dir.clone() }).unwrap();
        pair.b.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
            socket.send_to(&[0; 20], &SocketAddr::from(([192, 0, 2, 1], 0)).into()).unwrap();
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(datapath);
    });
    datapath::cleanup(&pin_dir).unwrap();
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    if logs {
        let line = text.lines().find(|line| line.contains("ended as outcome")).expect("a line per packet");
        eprintln!("{line}");
        assert!(line.contains("DEBUG vipd::bpf: packet on interface"), "{line}");
    } else {
        assert_eq!(text, "", "nothing is said where there is no log");
    }
}
