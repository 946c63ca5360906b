use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use lettre::message::Mailbox;

use super::document::{Field, Section};
use super::tracking::command_line;
use super::{Control, DEFAULT_PIN_DIR, DEFAULT_SOCKET, DatapathMode, Email, Gateway, Notify, Peer, Witness};

const PLACEHOLDER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

pub(super) fn read_node_name(root: &Section<'_>) -> String {
    let section = root.section_or_empty("node");
    let name = match section.optional("name") {
        Some(field) => field.text().unwrap_or_default().to_owned(),
        None => host_name(),
    };
    section.refuse_unknown();
    name
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

pub(super) fn read_peer(root: &Section<'_>) -> Option<Peer> {
    let section = root.section("peer")?;
    let address = |key| {
        let field = section.required(key, "an address with its port, as in \"192.0.2.1:8651\"");
        field.and_then(|field| socket_address(&field)).unwrap_or(PLACEHOLDER)
    };
    let secret = section.required("secret_file", "the path of a file with 64 hex digits, the same on both nodes");
    let peer = Peer {
        address: address("address"),
        listen: address("listen"),
        secret_file: secret.and_then(|field| field.text()).map(PathBuf::from).unwrap_or_default(),
    };
    section.refuse_unknown();
    Some(peer)
}

pub(super) fn read_witness(root: &Section<'_>) -> Option<Witness> {
    let section = root.section("witness")?;
    let etcd = section.required("etcd", "a list of the endpoints of etcd");
    let witness = Witness { etcd: etcd.map(|field| urls(&field)).unwrap_or_default() };
    section.refuse_unknown();
    Some(witness)
}

pub(super) fn read_gateway(root: &Section<'_>) -> Option<Gateway> {
    let section = root.section("gateway")?;
    let field = section.required("address", "the address of the gateway");
    let address = field.and_then(|field| {
        let address = field.text()?.parse().ok();
        if address.is_none() {
            field.refuse("an IPv4 or IPv6 address is wanted", "write it as in \"192.0.2.1\"");
        }
        address
    });
    section.refuse_unknown();
    Some(Gateway { address: address.unwrap_or(PLACEHOLDER.ip()) })
}

pub(super) fn read_datapath_mode(root: &Section<'_>) -> DatapathMode {
    let section = root.section_or_empty("datapath");
    let mode = section.choice(
        "mode",
        DatapathMode::Auto,
        &[
            ("auto", DatapathMode::Auto),
            ("native", DatapathMode::Native),
            ("generic", DatapathMode::Generic),
            ("socket", DatapathMode::Socket),
        ],
    );
    section.refuse_unknown();
    mode
}

pub(super) fn read_control(root: &Section<'_>) -> Control {
    let section = root.section_or_empty("control");
    let metrics = section.optional("metrics").and_then(|field| socket_address(&field));
    let control = Control {
        socket: absolute_path(&section, "socket", DEFAULT_SOCKET),
        pin_dir: absolute_path(&section, "pin_dir", DEFAULT_PIN_DIR),
        metrics,
    };
    section.refuse_unknown();
    control
}

fn absolute_path(section: &Section<'_>, key: &'static str, default: &str) -> PathBuf {
    let Some(field) = section.optional(key) else { return PathBuf::from(default) };
    let path = PathBuf::from(field.text().unwrap_or(default));
    if !path.is_absolute() {
        field.refuse("an absolute path is wanted", format!("write \"{default}\" or another that begins with /"));
    }
    path
}

pub(super) fn read_notify(root: &Section<'_>) -> Option<Notify> {
    let section = root.section("notify")?;
    let command = section.optional("command").and_then(|field| command_line(&field));
    let webhook = section.optional("webhook").and_then(|field| url(&field));
    let email = section.section("email").map(|email| {
        let to = email.required("to", "a list of addresses");
        let text =
            |key, allowed| email.required(key, allowed).and_then(|field| field.text()).unwrap_or_default().to_owned();
        let addresses = to.map(|field| texts(&field)).unwrap_or_default();
        let (from, smtp) = (text("from", "the address of the sender"), text("smtp", "host:port of the mail server"));
        for (key, address) in addresses.iter().map(|to| ("to", to)).chain([("from", &from)]) {
            if let Some(field) = email.optional(key).filter(|_| address.parse::<Mailbox>().is_err()) {
                field.refuse(
                    format!("{address:?} is no mail address"),
                    "write it as in \"dba@example.org\" or \"The DBA <dba@example.org>\"",
                );
            }
        }
        email.refuse_unknown();
        Email { to: addresses, from, smtp }
    });
    let notify = Notify { command, webhook, email };
    section.refuse_unknown();
    Some(notify)
}

fn socket_address(field: &Field<'_>) -> Option<SocketAddr> {
    let address = field.text()?.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    if address.is_none() {
        field.refuse(
            "an address with its port is wanted",
            "write it as in \"192.0.2.1:8651\" or \"[2001:db8::1]:8651\"",
        );
    }
    address
}

fn url(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if host.is_none_or(str::is_empty) {
        field.refuse("a URL is wanted that begins with https:// or http://", "write it as in \"https://host.example\"");
    }
    Some(text.to_owned())
}

fn urls(field: &Field<'_>) -> Vec<String> {
    let urls = field.elements();
    if urls.is_empty() {
        field.refuse("must name at least one", "fill it in, or remove the section");
    }
    urls.iter().filter_map(url).collect()
}

fn texts(field: &Field<'_>) -> Vec<String> {
    let texts = field.elements();
    if texts.is_empty() {
        field.refuse("must name at least one", "fill it in, or remove the section");
    }
    texts.iter().filter_map(Field::text).map(str::to_owned).collect()
}
