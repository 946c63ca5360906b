//! A database host with systemd as its first process, and with servers and agent from packages.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::agent::{Status, VRID};
use crate::mariadb::{PASSWORD, SEED};
use crate::network::{Host, INTERFACE, PREFIX, VIP};
use crate::process::Process;
use crate::run::{Run, command_output, lab_folder, remove_folder, workspace};

/// What the system is made of; the rest is what these need.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,mariadb-server";
const SUITE: &str = "bookworm";
/// How long a boot may take, and a shutdown.
const BOOT: Duration = Duration::from_secs(60);
/// Where cgroups are, of either version.
const CGROUPS: [&str; 3] = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
/// The only thing that is not as Debian made it.
const SERVER: &str = "\
[mariadbd]
bind_address = 0.0.0.0
skip_name_resolve
log_bin = binlog
log_slave_updates
sync_binlog = 1
gtid_strict_mode
binlog_format = ROW
relay_log_recovery
read_only
slave_net_timeout = 4
auto_increment_increment = 2
innodb_buffer_pool_size = 32M
";

/// A Debian system in a container on one host of the lab's network.
#[derive(Debug)]
pub struct Machine {
    host: Host,
    folder: PathBuf,
    cgroup: String,
    /// What starts it, for a shell.
    script: String,
    nspawn: Process,
}

impl Machine {
    /// Boots it; `number` is the id of its server.
    pub fn boot(run: &Run, host: &Host, number: u8) -> Result<Self> {
        let image = image()?;
        let folder = run.folder().join(&host.name);
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(folder.join(part)).with_context(|| format!("create {}", folder.display()))?;
        }
        let pins = run.pin_dir(&host.name);
        fs::create_dir_all(&pins).with_context(|| format!("create {}", pins.display()))?;
        let upper = folder.join("upper");
        let server =
            format!("{SERVER}server_id = 1{number}\ngtid_domain_id = {number}\nauto_increment_offset = {number}\n");
        write(&upper.join("etc/mysql/mariadb.conf.d/99-lab.cnf"), &server)?;
        write(&upper.join("etc/hostname"), &format!("{}\n", host.name))?;
        // A container on a BPF file system, network and cgroup of its own; the mount ends with the process.
        let cgroup = run.namespace(&host.name);
        let script = format!(
            "for tree in {trees}; do if [ -e $tree/cgroup.procs ]; then mkdir -p $tree/{cgroup} && \
             echo $$ > $tree/{cgroup}/cgroup.procs; fi; done\n\
             mount -t overlay overlay -o lowerdir={image},upperdir={folder}/upper,workdir={folder}/work {folder}/root\n\
             exec systemd-nspawn --directory={folder}/root --machine={cgroup} --keep-unit --register=no \
             --network-namespace-path=/run/netns/{cgroup} --capability=all \
             --system-call-filter='bpf perf_event_open' --bind={pins}:/sys/fs/bpf --console=pipe --boot",
            trees = CGROUPS.join(" "),
            image = image.display(),
            folder = folder.display(),
            pins = pins.display(),
        );
        let nspawn = spawn(&script, &folder)?;
        let mut machine = Self { host: host.clone(), folder, cgroup, script, nspawn };
        machine.wait_booted()?;
        Ok(machine)
    }

    /// Shuts down in order and boots again.
    pub fn reboot(&mut self) -> Result<()> {
        self.shell("systemctl reboot")?;
        match self.nspawn.wait(BOOT)? {
            // What systemd-nspawn says when its caller has to start it again.
            Some(status) if status.code() == Some(133) => {}
            Some(status) => bail!("{} did not ask for a reboot: {status}", self.name()),
            None => bail!("{} has not shut down within {BOOT:?}", self.name()),
        }
        self.nspawn = spawn(&self.script, &self.folder)?;
        self.wait_booted()
    }

    /// Waits until systemd says that all is up.
    fn wait_booted(&mut self) -> Result<()> {
        let deadline = Instant::now() + BOOT;
        loop {
            let state = self.shell("systemctl is-system-running --wait");
            match state {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    let failed = self.shell("systemctl --failed --no-pager; journalctl --no-pager | tail -50");
                    let console = self.folder.join("console.log");
                    return Err(error.context(format!(
                        "no boot of {}: {failed:?}, {}",
                        self.name(),
                        console.display()
                    )));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
            if let Some(status) = self.nspawn.ended()? {
                let console = fs::read_to_string(self.folder.join("console.log")).unwrap_or_default();
                bail!("systemd-nspawn of {} ended: {status}: {console}", self.name());
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// The process id of its systemd, as seen from here.
    pub fn leader(&self) -> Result<i32> {
        let nspawn = self.nspawn.pid();
        let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"));
        let children = children.context("list the children of systemd-nspawn")?;
        children.split_whitespace().last().context("no container runs")?.parse().context("a process id")
    }

    /// Runs a line of shell inside, as root; its output, or an error with its error output.
    pub fn shell(&self, line: &str) -> Result<String> {
        command_output(&mut self.command(line)?)
    }

    fn command(&self, line: &str) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.leader()?)).args(["--all", "--", "/bin/sh", "-c", line]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        Ok(command)
    }

    /// Hands a text to a program inside.
    pub fn feed(&self, line: &str, input: &str) -> Result<()> {
        let mut child = self.command(line)?.stdin(Stdio::piped()).spawn().with_context(|| format!("start {line}"))?;
        child.stdin.take().context("no way in")?.write_all(input.as_bytes()).with_context(|| format!("feed {line}"))?;
        let status = child.wait().with_context(|| format!("wait for {line}"))?;
        if !status.success() {
            bail!("{}: {line}: {status}", self.name());
        }
        Ok(())
    }

    /// Makes accounts and tables, and replicates from the other host.
    pub fn set_up_server(&self, source: &Host) -> Result<()> {
        let statements = format!(
            "SET SESSION sql_log_bin = 0; {SEED} CHANGE MASTER TO MASTER_HOST='{}', MASTER_USER='repl', \
             MASTER_PASSWORD='{PASSWORD}', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1; START SLAVE;",
            source.address
        );
        self.feed("mariadb", &statements)
    }

    /// Installs the package and the password of the agent's account, as an administrator would.
    pub fn install(&self) -> Result<()> {
        let package = package()?;
        let content = fs::read(&package).with_context(|| format!("read {}", package.display()))?;
        let root = format!("/proc/{}/root", self.leader()?);
        fs::write(Path::new(&root).join("root/vipd.deb"), content).context("copy the package")?;
        self.shell("dpkg --install /root/vipd.deb")?;
        self.feed("umask 077; cat > /etc/vipd/mysql.pass", &format!("{PASSWORD}\n"))
    }

    /// Makes the configuration of this host; that of the other one is the answer.
    pub fn configure(&self, peer: &Host) -> Result<String> {
        self.shell(&format!(
            "vipd init --interface {INTERFACE} --address {VIP}/{PREFIX} --vrid {VRID} --source {} --peer {} \
             --endpoint /run/mysqld/mysqld.sock",
            self.host.address, peer.address
        ))?;
        self.shell("cat /etc/vipd/vipd.twin.toml")
    }

    pub fn status(&self) -> Result<Status> {
        let answer = self.shell("vipd status --json")?;
        Ok(Status(serde_json::from_str(&answer).context("the status is not JSON")?))
    }

    /// The process id of a service's main process, inside.
    pub fn main_pid(&self, service: &str) -> Result<i32> {
        let pid = self.shell(&format!("systemctl show --property=MainPID --value {service}"))?;
        pid.trim().parse().with_context(|| format!("the process id of {service}: {pid:?}"))
    }

    /// How often systemd has restarted a service by itself.
    pub fn restarts(&self, service: &str) -> Result<u32> {
        let count = self.shell(&format!("systemctl show --property=NRestarts --value {service}"))?;
        count.trim().parse().with_context(|| format!("the restarts of {service}: {count:?}"))
    }

    pub fn signal(&self, service: &str, signal: Signal) -> Result<()> {
        self.shell(&format!("kill -{} {}", signal as i32, self.main_pid(service)?)).map(drop)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = self.shell("journalctl --no-pager --unit=vipd --unit=mariadb").unwrap_or_default();
            if let Err(error) = fs::write(self.folder.with_extension("journal"), journal) {
                eprintln!("lab: {error}");
            }
        }
        // systemd ends with its first process, and with it all others.
        let ended = self.leader().and_then(|leader| {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(leader), Signal::SIGKILL).context("end a container")?;
            self.nspawn.wait(BOOT)
        });
        if let Err(error) = ended {
            eprintln!("lab: {}: {error:#}", self.name());
        }
        for tree in CGROUPS {
            remove_cgroup(&Path::new(tree).join(&self.cgroup));
        }
        for part in ["upper", "work", "root"] {
            if let Err(error) = remove_folder(&self.folder.join(part)) {
                eprintln!("lab: {error:#}");
            }
        }
    }
}

fn spawn(script: &str, folder: &Path) -> Result<Process> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-ec", script]);
    // A group of its own: what happens to the container's terminal is not for the test runner.
    command.process_group(0);
    Process::spawn(command, &folder.join("console.log"))
}

/// A cgroup is removed from its leaves on; its files are not removed at all.
fn remove_cgroup(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        remove_cgroup(&entry);
    }
    fs::remove_dir(folder).ok();
}

fn write(path: &Path, content: &str) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

/// The system that all machines begin as.
fn image() -> Result<PathBuf> {
    let image = lab_folder().join(format!("debian-{SUITE}"));
    let stamp = image.with_extension("made-from");
    if fs::read_to_string(&stamp).is_ok_and(|packages| packages == PACKAGES) {
        return Ok(image);
    }
    remove_folder(&image)?;
    fs::create_dir_all(lab_folder()).context("create the lab's folder")?;
    eprintln!("lab: making a Debian system with {PACKAGES}, about a minute");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]).arg(&image);
    command_output(&mut debootstrap)?;
    fs::write(&stamp, PACKAGES).context("write the stamp")?;
    Ok(image)
}

/// The package that `cargo xtask package` has built.
fn package() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let folder = target.join("debian");
    let files = fs::read_dir(&folder).with_context(|| format!("{}: run `cargo xtask package`", folder.display()))?;
    let mut files = files.flatten().map(|file| file.path());
    let package = files.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    package.with_context(|| format!("no package in {}: run `cargo xtask package`", folder.display()))
}
