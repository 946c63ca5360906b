use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use vipd::cli::{Cli, Command, Import, Init};
use vipd::config::Config;
use vipd::{cleanup, control, doctor, init, mysql, script};

/// `EX_CONFIG` of sysexits.h: the service manager need not try again before somebody has changed the file.
const UNUSABLE_CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    match dispatch(&cli) {
        Ok(code) => code,
        Err(error) => {
            // Every cause in one line; a list of problems keeps its lines.
            eprintln!("vipd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(Cli { command, agent }: &Cli) -> anyhow::Result<ExitCode> {
    match command {
        Command::Doctor => return examine(agent.config_path()),
        Command::Run => match Config::load(agent.config_path()) {
            Ok(config) => vipd::run::run(config),
            Err(error) => {
                eprintln!("vipd: {error}");
                return Ok(ExitCode::from(UNUSABLE_CONFIGURATION));
            }
        },
        Command::CheckConfig { file } => check_config(file.as_deref().unwrap_or(agent.config_path())),
        Command::Status { json } => {
            let status = control::request_status(&agent.socket_path()?)?;
            print(&if *json { serde_json::to_string(&status)? + "\n" } else { status.to_string() })
        }
        Command::Grants { dialect, user, host } => {
            let dialect = mysql::dialect::Dialect::parse(dialect.version());
            let statements = mysql::grants::statements(dialect, user, host);
            print(&(statements.join(";\n") + ";\n"))
        }
        Command::Keygen => print(&(vipd::keygen::new_key()? + "\n")),
        Command::Init(options) => initialize(agent.config_path(), options),
        Command::Import(Import::Keepalived { file }) => import_keepalived(file),
        Command::RunScript { name, uid, gid, groups, command } => {
            script::launch(&script::Account::known(name.clone(), *uid, *gid, groups), command)?;
            // As a shell says it; the agent has heard the reason.
            std::process::exit(127)
        }
        Command::Cleanup => cleanup::run(&Config::load(agent.config_path())?),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn examine(path: &Path) -> anyhow::Result<ExitCode> {
    let report = doctor::run(&Config::load(path)?)?;
    print(&report.to_string())?;
    Ok(report.exit_code())
}

fn check_config(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    for warning in config.complaints_about_secrets().iter().chain(&config.not_in_effect()).chain(&config.remarks()) {
        eprintln!("{}: warning: {warning}", path.display());
    }
    print(&format!("{}: good\n", path.display()))
}

fn initialize(path: &Path, options: &Init) -> anyhow::Result<()> {
    let options = init::Options {
        interface: options.interface.clone(),
        peer_interface: options.peer_interface.clone(),
        address: options.address.clone(),
        source: options.source,
        peer: options.peer,
        endpoint: options.endpoint.clone(),
        vrid: Some(options.vrid),
        force: options.force,
    };
    let (mut answers, mut questions) = (std::io::stdin().lock(), std::io::stderr());
    let mut dialogue =
        if answers.is_terminal() { init::Dialogue::with(&mut answers, &mut questions) } else { init::Dialogue::none() };
    print(&init::run(path, &options, &init::addresses_of_this_host()?, &mut dialogue)?)
}

fn import_keepalived(file: &Path) -> anyhow::Result<()> {
    let imported = vipd::import::read_keepalived(file)?;
    for remark in &imported.remarks {
        eprintln!("{remark}");
    }
    anyhow::ensure!(imported.routers > 0, "{}: no vrrp_instance to import", file.display());
    print(&imported.toml)
}

/// Prints to stdout; a reader that has gone away is no fault.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Logs to stderr what `$VIPD_LOG` names, as in `debug` or `vipd=trace`; without it, from `info` up.
fn start_log() {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).with_env_var("VIPD_LOG");
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter.from_env_lossy())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
