//! A pair to play with: it stays until it is taken down.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::mariadb::PASSWORD;
use crate::network::VIP;
use crate::pair::{Pair, Setting};
use crate::run::{PLAY, Run, sweep};

const STATE: &str = "/run/vipd-lab/play/state.json";

/// What `shell` needs to know of each host.
#[derive(Debug, Serialize, Deserialize)]
struct PlayHost {
    name: String,
    namespace: String,
    configuration: Option<PathBuf>,
    control: Option<PathBuf>,
    server: Option<PathBuf>,
    binary: PathBuf,
}

/// Builds the pair and leaves it running.
pub fn up(setting: &Setting) -> Result<()> {
    sweep(PLAY)?;
    let run = Run::begin_play()?;
    let started = Pair::start_in(run, setting);
    let mut pair = started.inspect_err(|_| {
        if let Err(error) = sweep(PLAY) {
            eprintln!("lab: {error:#}");
        }
    })?;
    let mut hosts = Vec::new();
    for (number, host) in pair.network.databases.iter().enumerate() {
        let agent = &pair.agents[number];
        hosts.push(PlayHost {
            name: host.name.clone(),
            namespace: host.namespace.name().to_owned(),
            configuration: Some(agent.configuration().to_owned()),
            control: Some(agent.control().to_owned()),
            server: Some(pair.servers[number].socket().to_owned()),
            binary: agent.binary().to_owned(),
        });
    }
    hosts.push(PlayHost {
        name: pair.network.client.name.clone(),
        namespace: pair.network.client.namespace.name().to_owned(),
        configuration: None,
        control: None,
        server: None,
        binary: pair.agents[0].binary().to_owned(),
    });
    fs::write(STATE, serde_json::to_vec_pretty(&hosts)?).with_context(|| format!("write {STATE}"))?;
    pair.release();
    println!("Two hosts are up. The address is {VIP} at port 3306, user app, password {PASSWORD}.");
    println!("  cargo xtask lab shell db1       a shell on a host: vipd status, mariadb, kill …");
    println!("  cargo xtask lab shell client    mariadb shop: through the address, as an application does");
    println!("  cargo xtask lab down            take it all away");
    println!("Logs: {}", pair.run.folder().display());
    Ok(())
}

/// Becomes a shell on the host.
pub fn shell(name: &str) -> Result<()> {
    let state = fs::read(STATE).with_context(|| format!("{STATE}: bring the hosts up first (lab up)"))?;
    let hosts: Vec<PlayHost> = serde_json::from_slice(&state).with_context(|| format!("read {STATE}"))?;
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let Some(host) = hosts.iter().find(|host| host.name == name) else {
        bail!("no host {name}: there are {}", names.join(", "));
    };
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", host.namespace)).args(["--", "bash", "--norc"]);
    command.env("PS1", format!("[{name}] \\w# "));
    let path = std::env::var("PATH").unwrap_or_default();
    if let Some(folder) = host.binary.parent() {
        command.env("PATH", format!("{}:{path}", folder.display()));
    }
    let settings = [("VIPD_CONFIG", &host.configuration), ("VIPD_SOCKET", &host.control)];
    for (variable, value) in settings {
        if let Some(value) = value {
            command.env(variable, value);
        }
    }
    // A function that bash takes from its environment: the client's own settings would name another server.
    let login = match &host.server {
        Some(socket) => format!("--user=root --socket={}", socket.display()),
        None => format!("--user=app --password={PASSWORD} --host={VIP}"),
    };
    command.env("BASH_FUNC_mariadb%%", format!("() {{ command mariadb --no-defaults {login} \"$@\"; }}"));
    Err(command.exec()).context("start a shell")
}

/// Takes the pair down.
pub fn down() -> Result<()> {
    sweep(PLAY)?;
    println!("Nothing is left of the two hosts.");
    Ok(())
}
