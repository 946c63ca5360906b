//! Two Debian systems with systemd, installed from packages, as an administrator has them.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lab::arp::ArpProbe;
use lab::machine::Machine;
use lab::network::{INTERFACE, Network, VIP};
use lab::{Observer, Run, Writer, turn};
use nix::sys::signal::Signal;

/// How long anything that systemd or a server does may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Two installed hosts with a client; the fields end in this order.
struct Hosts {
    observer: Observer,
    machines: [Machine; 2],
    network: Network,
    _run: Run,
}

impl Hosts {
    fn start(title: &str) -> Self {
        let run = Run::begin(title).unwrap();
        let network = Network::create(&run).unwrap();
        let [one, other] = &network.databases;
        let machines = [Machine::boot(&run, one, 1).unwrap(), Machine::boot(&run, other, 2).unwrap()];
        for (machine, peer) in [(&machines[0], other), (&machines[1], one)] {
            machine.set_up_server(peer).unwrap();
            machine.install().unwrap();
        }
        let twin = machines[0].configure(other).unwrap();
        machines[1].feed("cat > /etc/vipd/vipd.toml", &twin).unwrap();
        for machine in &machines {
            machine.shell("vipd check-config").unwrap();
        }
        let observer = Observer::start(&network.databases, VIP).unwrap();
        let hosts = Self { observer, machines, network, _run: run };
        for machine in &hosts.machines {
            machine.shell("systemctl enable --now vipd").unwrap();
        }
        hosts
    }

    /// Waits until one host serves and the other could take over; gives the first.
    fn wait_settled(&self) -> usize {
        self.wait_until("one host serves and the other stands by", || {
            let statuses = self.machines.each_ref().map(|machine| machine.status().ok());
            let [Some(one), Some(other)] = &statuses else { return None };
            let (active, standby) = if one.serving() { (0, other) } else { (1, one) };
            let serving = statuses[active].as_ref().is_some_and(lab::agent::Status::serving);
            let ready = standby.state() == "backup" && standby.eligible();
            (serving && ready && self.observer.holders() == [active]).then_some(active)
        })
    }

    /// Waits until that host alone has the address.
    fn wait_holder(&self, host: usize) {
        self.wait_until("the other host has the address", || (self.observer.holders() == [host]).then_some(()));
    }

    fn wait_until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            if Instant::now() >= deadline {
                let statuses = self.machines.each_ref().map(Machine::status);
                panic!("not after {PATIENCE:?}: {what}; {:?}: {statuses:?}", self.observer.holders());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn assert_never_two_holders(&self, since: Instant) {
        assert_eq!(self.observer.longest_overlap(since), Duration::ZERO);
    }

    /// Ends the client: what it saw acknowledged is on both servers, and nothing stands twice.
    fn assert_no_row_lost(&self, writer: Writer) {
        let acknowledged = writer.stop().unwrap();
        assert!(acknowledged.len() > 200, "{} writes", acknowledged.len());
        self.wait_until("both servers hold every acknowledged row", || {
            let rows = self.machines.each_ref().map(|machine| {
                let ids = machine.shell("mariadb --skip-column-names -e 'SELECT id FROM shop.ledger'").unwrap();
                ids.lines().map(|id| id.parse().unwrap()).collect::<BTreeSet<u64>>()
            });
            let lost = acknowledged.iter().filter(|write| !rows[0].contains(&write.id)).count();
            (lost == 0 && rows[0] == rows[1]).then_some(())
        });
    }
}

#[test]
fn an_agent_that_is_killed_or_stands_still_is_started_again_by_systemd_and_no_row_is_lost() {
    let Some(_turn) = turn() else { return };
    let hosts = Hosts::start("systemd-restart");
    let since = Instant::now();
    let active = hosts.wait_settled();
    let writer = Writer::start(&hosts.network.client, VIP).unwrap();
    writer.wait_for(100, Instant::now(), PATIENCE).unwrap();

    let machine = &hosts.machines[active];
    machine.signal("vipd", Signal::SIGKILL).unwrap();
    hosts.wait_until("systemd restarts the agent", || (machine.restarts("vipd").unwrap() == 1).then_some(()));
    let active = hosts.wait_settled();
    writer.wait_for(100, Instant::now(), PATIENCE).unwrap();

    hosts.assert_never_two_holders(since);

    let machine = &hosts.machines[active];
    let probe = ArpProbe::start(&hosts.network.stranger, VIP).unwrap();
    machine.signal("vipd", Signal::SIGSTOP).unwrap();
    // It cannot let go of the address, which ends by itself after two seconds; until then the gate is closed.
    hosts.wait_holder(1 - active);
    let answers = probe.answers();
    let old = hosts.network.databases[active].mac().unwrap();
    let taken = answers.iter().position(|answer| answer.mac != old).unwrap();
    assert!(answers[taken..].iter().all(|answer| answer.mac != old), "both hosts answer for the address: {answers:?}");
    let restarts = machine.restarts("vipd").unwrap();
    hosts.wait_until("the watchdog ends the agent that stands still", || {
        (machine.restarts("vipd").unwrap() > restarts).then_some(())
    });
    let journal = machine.shell("journalctl --no-pager --unit=vipd").unwrap();
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    assert_eq!(hosts.wait_settled(), 1 - active);
    writer.wait_for(100, Instant::now(), PATIENCE).unwrap();
    hosts.assert_no_row_lost(writer);
}

#[test]
fn a_host_that_reboots_hands_over_first_and_comes_back_as_standby() {
    let Some(_turn) = turn() else { return };
    let mut hosts = Hosts::start("systemd-reboot");
    let since = Instant::now();
    let active = hosts.wait_settled();
    let writer = Writer::start(&hosts.network.client, VIP).unwrap();
    writer.wait_for(100, Instant::now(), PATIENCE).unwrap();

    let asked = Instant::now();
    hosts.machines[active].reboot().unwrap();
    assert_eq!(hosts.wait_settled(), 1 - active);
    writer.wait_for(100, Instant::now(), PATIENCE).unwrap();
    eprintln!("a reboot: {:?} without an acknowledged write", writer.longest_gap(asked).length);
    // The other agent heard of it from this one, which ends before its server does: no timer had to run out.
    assert_eq!(hosts.machines[1 - active].status().unwrap().transition().reason, "peer_resigned");
    hosts.assert_never_two_holders(since);
    hosts.assert_no_row_lost(writer);
}

#[test]
fn a_refused_configuration_is_not_tried_again_and_again_and_a_killed_agent_always_is() {
    let Some(_turn) = turn() else { return };
    let hosts = Hosts::start("systemd-refused");
    let machine = &hosts.machines[1 - hosts.wait_settled()];
    for kill in 1..=8 {
        machine.signal("vipd", Signal::SIGKILL).unwrap();
        hosts.wait_until("systemd restarts the agent", || (machine.restarts("vipd").unwrap() == kill).then_some(()));
        hosts.wait_until("the agent answers", || machine.status().ok());
    }
    hosts.wait_settled();

    machine.shell("systemctl stop vipd; cp /etc/vipd/vipd.toml /root; echo 'vrid = 0' >> /etc/vipd/vipd.toml").unwrap();
    machine.shell("systemctl reset-failed vipd; systemctl start vipd").unwrap_err();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(machine.shell("systemctl is-failed vipd").unwrap(), "failed\n");
    assert_eq!(machine.restarts("vipd").unwrap(), 0);
    let journal = machine.shell("journalctl --no-pager --unit=vipd --lines=20").unwrap();
    assert!(journal.contains("/etc/vipd/vipd.toml:"), "the line of the fault is named: {journal}");
    machine.shell("cp /root/vipd.toml /etc/vipd; systemctl start vipd").unwrap();
    hosts.wait_settled();
}

#[test]
fn the_doctor_finds_what_was_made_wrong_and_nothing_else() {
    let Some(_turn) = turn() else { return };
    let hosts = Hosts::start("systemd-doctor");
    let machine = &hosts.machines[hosts.wait_settled()];
    let clean = machine.shell("vipd doctor || true").unwrap();
    assert!(clean.ends_with("\n0 errors, 0 warnings\n"), "{clean}");

    for (harm, told) in [
        ("mariadb -e 'SET GLOBAL sync_binlog = 0'", "ERROR   sync_binlog = 0\n"),
        ("mariadb -e 'STOP SLAVE SQL_THREAD'", "the applier does not run: stopped without an error\n"),
        (
            "mariadb -e \"REVOKE CONNECTION ADMIN ON *.* FROM vipd@localhost\"",
            "ERROR   the account vipd lacks CONNECTION ADMIN\n",
        ),
        ("sed -i s/^read_only// /etc/mysql/mariadb.conf.d/99-lab.cnf", "ERROR   read_only does not stand in"),
        ("chmod o+r /etc/vipd/mysql.pass", "mysql.pass"),
    ] {
        machine.shell(harm).unwrap();
        let report = machine.shell("vipd doctor; test $? = 1").unwrap();
        assert!(report.contains(told), "{harm}: {report}");
    }
}

#[test]
fn an_upgrade_does_not_move_the_address_and_a_removal_leaves_nothing() {
    let Some(_turn) = turn() else { return };
    let hosts = Hosts::start("systemd-upgrade");
    let since = Instant::now();
    let active = hosts.wait_settled();
    let machine = &hosts.machines[active];
    // In tenths: below 5 is what systemd calls OK.
    eprintln!("{}", machine.shell("systemd-analyze security --threshold=49 vipd | tail -1").unwrap());
    machine.shell("systemd-analyze security --threshold=49 vipd").unwrap();
    let pid = machine.main_pid("vipd").unwrap();
    eprintln!("{}", machine.shell(&format!("grep -E 'VmRSS|VmLck' /proc/{pid}/status")).unwrap());
    let before = machine.status().unwrap().transition();

    machine.shell("dpkg --install /root/vipd.deb").unwrap();
    assert_eq!(machine.main_pid("vipd").unwrap(), pid, "the agent was restarted");
    assert_eq!(machine.status().unwrap().transition(), before);
    assert_eq!(hosts.observer.holders(), [active]);

    machine.shell("systemctl restart vipd").unwrap();
    assert_ne!(machine.main_pid("vipd").unwrap(), pid);
    let active = hosts.wait_settled();

    let machine = &hosts.machines[active];
    machine.shell("dpkg --remove vipd").unwrap();
    hosts.wait_holder(1 - active);
    let left = machine.shell("ls /sys/fs/bpf /run/vipd 2>&1; pgrep --list-full vipd; true").unwrap();
    assert!(!left.contains("vipd.sock") && !left.contains("/usr/bin/vipd") && !left.contains("\nvipd"), "{left}");
    let programs = machine.shell(&format!("ip link show dev {INTERFACE}")).unwrap();
    assert!(!programs.contains("xdp"), "{programs}");
    machine.shell("dpkg --purge vipd; test -e /etc/vipd/vipd.toml").unwrap();
    hosts.assert_never_two_holders(since);
}
