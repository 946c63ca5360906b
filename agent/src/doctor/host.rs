//! The host: its files, kernel, interfaces and whatever else runs on it.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use agent_core::Writers;

use super::Finding;
use crate::config::{Authentication, Config, DatapathMode, VirtualRouter};
use crate::init::HostAddress;
use crate::interfaces::Interfaces;
use crate::{clock, control, datapath, init};

/// The capabilities that the agent uses, by their bit (capability.h).
const CAPABILITIES: [(u32, &str); 6] = [
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (14, "CAP_IPC_LOCK"),
    (23, "CAP_SYS_NICE"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];
/// Programs that move addresses too.
const OTHERS: [&str; 4] = ["keepalived", "vrrpd", "ucarp", "corosync"];

pub(super) fn configuration(config: &Config) -> Vec<Finding> {
    let secrets = config.complaints_about_secrets().into_iter().map(|complaint| {
        Finding::error(
            complaint,
            "The agent does not start with a secret that it cannot read or others can.",
            "see above",
        )
    });
    let ignored = config.not_in_effect().into_iter().map(|sentence| {
        Finding::warning(
            sentence,
            "What stands in the file suggests more than happens.",
            "remove it until it has an effect",
        )
    });
    let remarks = config.remarks().into_iter().map(|sentence| {
        Finding::warning(
            sentence,
            "Routers of other makes refuse such an advertisement, and both are Active.",
            "see above",
        )
    });
    secrets.chain(ignored).chain(remarks).collect()
}

pub(super) fn kernel(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.datapath_mode != DatapathMode::Socket {
        let why =
            "Without XDP there is no gate: a host that hangs keeps the address until its lifetime of 2 s is over.";
        if !datapath::has_programs() {
            findings.push(Finding::warning(
                "this vipd was built without its BPF programs",
                why,
                "install a package of vipd",
            ));
        }
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        if !mounts.lines().any(|line| line.split(' ').nth(2) == Some("bpf")) {
            let fix = "mount -t bpf bpf /sys/fs/bpf, which systemd does at boot";
            findings.push(Finding::warning("no BPF file system is mounted", why, fix));
        }
        if read_number("/proc/sys/net/core/bpf_jit_enable") == Some(0) {
            findings.push(Finding::warning(
                "net.core.bpf_jit_enable = 0",
                "Every packet of the interface is interpreted.",
                "sysctl net.core.bpf_jit_enable=1",
            ));
        }
    }
    let missing = missing_capabilities(&fs::read_to_string("/proc/self/status").unwrap_or_default());
    if !missing.is_empty() {
        findings.push(Finding::warning(
            format!("this user lacks {}", missing.join(", ")),
            "An agent that this user starts cannot do everything; the systemd unit of the package gives it what it needs.",
            "run vipd doctor as root",
        ));
    }
    let signs = |router: &VirtualRouter| matches!(router.authentication, Some(Authentication::HmacSha256 { .. }));
    if config.virtual_routers.iter().any(signs) && !clock::is_synchronized() {
        findings.push(Finding::error(
            "the clock is not synchronized",
            "Signed advertisements carry the time, and a host whose clock differs by more than 5 s is not heard.",
            "run chrony or systemd-timesyncd",
        ));
    }
    findings
}

fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(u64::MAX);
    CAPABILITIES.into_iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| name).collect()
}

pub(super) fn interfaces(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let known = runtime.block_on(async { Interfaces::open() })?;
    let host = init::addresses_of_this_host()?;
    let agent_runs = control::is_answered(&config.control.socket);
    Ok(config.virtual_routers.iter().flat_map(|router| on_interface(router, &known, &host, agent_runs)).collect())
}

fn on_interface(router: &VirtualRouter, known: &Interfaces, host: &[HostAddress], agent_runs: bool) -> Vec<Finding> {
    let VirtualRouter { name, interface, .. } = router;
    let Some((_, link)) = known.link(interface) else {
        return vec![Finding::error(
            format!("virtual router {name:?}: there is no interface {interface}"),
            "The router waits for it and is no candidate.",
            "correct `interface`; `ip -brief link` lists what there is",
        )];
    };
    let mut findings = Vec::new();
    if !link.up {
        findings.push(Finding::error(
            format!("virtual router {name:?}: {interface} is down or has no carrier"),
            "A host that nobody can reach is no candidate.",
            format!("ip link set {interface} up, and look at the cable"),
        ));
    }
    let here: Vec<&HostAddress> = host.iter().filter(|held| held.interface == *interface).collect();
    if let Some(source) = router.source_address
        && !known.is_local(source)
    {
        findings.push(Finding::error(
            format!("virtual router {name:?}: this host does not have source_address {source}"),
            "The router waits for it and is no candidate.",
            "correct `source_address`, or take it out: then it is the primary address of the interface",
        ));
    }
    for peer in router.peers.iter().filter(|peer| !here.iter().any(|held| held.reaches(**peer))) {
        findings.push(Finding::error(
            format!("virtual router {name:?}: peer {peer} is in no network of {interface}"),
            "Advertisements from behind a router arrive with a TTL below 255 and are refused.",
            "name the address that the other host has in a network of this interface",
        ));
    }
    for address in router.addresses.iter().map(|address| address.address) {
        if !agent_runs && known.is_local(address) {
            findings.push(Finding::error(
                format!("virtual router {name:?}: this host has {address}, and no agent runs"),
                "Two hosts have the address as soon as the other one takes over.",
                format!("take {address} out of the network configuration of this host; vipd cleanup removes it now"),
            ));
        }
        if !is_link_local(address) && !here.iter().any(|held| held.reaches(address)) {
            findings.push(Finding::warning(
                format!("virtual router {name:?}: {address} is in no network of {interface}"),
                "Hosts of that network find it only if something routes it to this interface.",
                "give the interface an address of that network, or correct `addresses`",
            ));
        }
    }
    findings
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

pub(super) fn neighbours() -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut running: Vec<String> = processes().filter(|name| OTHERS.contains(&name.as_str())).collect();
    running.sort_unstable();
    running.dedup();
    for name in running {
        findings.push(Finding::warning(
            format!("{name} runs on this host"),
            "Two programs that move the same address, or use the same vrid, work against each other.",
            format!("stop {name}, unless it has other addresses and another vrid"),
        ));
    }
    let rules = Command::new("nft").args(["list", "ruleset"]).output();
    let rules = rules.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    for chain in closed_chains(&rules) {
        findings.push(Finding::warning(
            format!("the firewall drops in {chain} what no rule lets through, and no rule speaks of VRRP"),
            "Hosts that do not hear each other are both Active.",
            "let protocol 112 through in both directions: nft add rule .. ip protocol vrrp accept",
        ));
    }
    findings
}

/// The names of all processes.
fn processes() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(fs::read_to_string(entry.path().join("comm")).ok()?.trim().to_owned()))
}

/// Chains for packets from or to this host that end in a drop, in a ruleset that does not name VRRP.
fn closed_chains(rules: &str) -> Vec<&str> {
    let speaks_of_vrrp = |word: &str| matches!(word, "vrrp" | "112" | "vrrp," | "112,");
    if rules.split_whitespace().any(speaks_of_vrrp) {
        return Vec::new();
    }
    let mut chains = Vec::new();
    let mut chain = "";
    for line in rules.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("chain ") {
            chain = rest.trim_end_matches(['{', ' ']);
        }
        if (line.contains("hook input") || line.contains("hook output")) && line.contains("policy drop") {
            chains.push(chain);
        }
    }
    chains
}

/// Whether the server's option files make it start read-only.
pub(super) fn option_files(writers: Writers) -> Vec<Finding> {
    if writers == Writers::Both {
        return Vec::new();
    }
    let groups = ["mysqld", "server", "mariadb", "mariadbd"];
    let Ok(output) = Command::new("my_print_defaults").args(groups).output() else {
        return vec![Finding::warning(
            "my_print_defaults is not on this host",
            "Whether the server starts read-only cannot be seen.",
            "see that read_only = ON stands in its option file",
        )];
    };
    if starts_read_only(&String::from_utf8_lossy(&output.stdout)) {
        return Vec::new();
    }
    vec![Finding::error(
        "read_only does not stand in the server's option files",
        "A server that comes back after a failure takes writes before the agent can stop it: two writers.",
        "read_only = ON (on MySQL also super_read_only = ON) in the section [mysqld] of its option file",
    )]
}

/// The last of several wins, as for the server.
fn starts_read_only(options: &str) -> bool {
    let mut values = options.lines().filter_map(|option| {
        let (name, value) =
            option.trim_start_matches('-').split_once('=').unwrap_or((option.trim_start_matches('-'), "1"));
        let name = name.replace('_', "-");
        matches!(name.as_str(), "read-only" | "super-read-only").then_some(value)
    });
    values.next_back().is_some_and(|value| !matches!(value.to_uppercase().as_str(), "0" | "OFF" | "FALSE"))
}

fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_of_the_capabilities_is_named() {
        assert_eq!(missing_capabilities("CapEff:\t000001ffffffffff\n"), [""; 0]);
        assert_eq!(missing_capabilities("CapEff:\t0000008000801000\n"), ["CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_PERFMON"]);
        assert_eq!(missing_capabilities("CapEff:\t0000000000000000\n").len(), 6);
    }

    #[test]
    fn a_firewall_that_drops_without_a_word_of_vrrp_is_found() {
        let closed = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\
                      \t\ttcp dport 22 accept\n\t}\n\tchain output {\n\t\ttype filter hook output priority 0; policy accept;\n\t}\n}\n";
        assert_eq!(closed_chains(closed), ["input"]);
        assert_eq!(closed_chains(&closed.replace("tcp dport 22", "ip protocol vrrp")), [""; 0]);
        assert_eq!(closed_chains(&closed.replace("tcp dport 22", "meta l4proto 112")), [""; 0]);
        assert_eq!(closed_chains(&closed.replace("policy drop", "policy accept")), [""; 0]);
    }

    #[test]
    fn the_last_option_decides_whether_a_server_starts_read_only() {
        for (options, read_only) in [
            ("--read_only\n", true),
            ("--port=3306\n--read-only=ON\n", true),
            ("--super_read_only=1\n", true),
            ("--read_only=ON\n--read_only=OFF\n", false),
            ("--port=3306\n", false),
            ("", false),
        ] {
            assert_eq!(starts_read_only(options), read_only, "{options}");
        }
    }
}
