//! `vipd run`: joins the election thread to everything that may take its time.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use agent_core::{Input, Parameters, PartSource, StateName, TrackId, TrackKind};
use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::authentication::{self, Authentication};
use crate::config::{Config, DatapathMode, VirtualRouter};
use crate::datapath::{self, Choice, Mode};
use crate::election::{self, Channels, Event, RouterSettings, View};
use crate::metrics::{self, Metrics};
use crate::mysql;
use crate::notify::{self, Notifier};
use crate::script::{self, Scripts};
use crate::service_manager::{self, ServiceManager};
use crate::{clock, config, control, status, web};

/// After this long a hand-over that does not end is given up: the lease of the addresses ends it.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(8);
/// Also after an upgrade has replaced the file.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// An election thread that has not shown itself for this long is stuck; it does so five times a second.
const ELECTION_STALL: Duration = Duration::from_secs(2);

/// Runs the agent until SIGTERM or SIGINT, hands over and returns.
pub fn run(config: Config) -> anyhow::Result<()> {
    for sentence in config.not_in_effect().into_iter().chain(config.remarks()) {
        tracing::warn!("{sentence}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let settings = settings(&config)?;
    let (inputs, inputs_end) = mpsc::unbounded_channel();
    let (events, mut events_end) = mpsc::unbounded_channel();
    let (view, view_end) = watch::channel(Arc::new(View::initial(&settings)));
    let server = match &config.mysql {
        Some(mysql) => {
            let inputs = inputs.clone();
            // Once the election has ended nobody wants news any more.
            let sink = move |input| drop(inputs.send(input));
            Some(mysql::Server::start(server_settings(mysql)?, sink))
        }
        None => None,
    };
    let sink = inputs.clone();
    let scripts = script_settings(&config, &settings.parameters)?;
    let scripts = Scripts::start(scripts, Path::new(OWN_PROGRAM), move |input| drop(sink.send(input)));
    let scripts = scripts.context("cannot start the scripts")?;
    let facts = server.as_ref().map(mysql::Server::facts);
    let probe_times = server.as_ref().map(mysql::Server::probe_times);
    let commands = server.as_ref().map(mysql::Server::commands);
    let channels = Channels { inputs: inputs_end, server: commands, view, events };
    let election_view = view_end.clone();
    let thread = spawn_election(settings.clone(), channels)?;
    let started = Instant::now();
    let metrics = Metrics::default();
    let notifier = Notifier::start(config.notify.as_ref(), notify::DEADLINE).context("cannot start a notifier")?;
    let window = Arc::new(Window {
        config: config.clone(),
        parameters: settings.parameters,
        view: view_end,
        facts,
        probe_times,
        started,
        scripts: scripts.counts(),
        notifications: notifier.results(),
        metrics: metrics.clone(),
    });
    let web = match config.control.metrics {
        Some(address) => {
            let server = web::Server::bind(address).await?;
            Some(tokio::spawn(server.serve(Arc::clone(&window) as Arc<dyn web::Source>)))
        }
        None => None,
    };
    let control = control::Server::bind(&config.control.socket)?;
    let control = tokio::spawn(control.serve(move || web::Source::status(&*window)));
    let manager = ServiceManager::from_environment();

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut give_up_at = None;
    let mut watchdog = service_manager::watchdog_interval().map(tokio::time::interval);
    loop {
        let give_up = async {
            match give_up_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let feed = async {
            match &mut watchdog {
                Some(interval) => interval.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events_end.recv() => match event {
                Some(Event::Ready) => manager.ready(),
                Some(Event::Transition(transition)) => {
                    metrics.count(router_name(&config, &transition), &transition);
                    log_transition(&config, &transition);
                    notifier.tell(news(&config, &transition));
                }
                Some(Event::Trouble(text)) => tracing::warn!("{text}"),
                Some(Event::Finished) | None => break,
            },
            _ = terminate.recv() => ask_to_stop(&inputs, &manager, &mut give_up_at),
            _ = interrupt.recv() => ask_to_stop(&inputs, &manager, &mut give_up_at),
            // Only an election thread that turns deserves to be called alive.
            _ = feed => {
                let view = Arc::clone(&election_view.borrow());
                if turns(&view) {
                    manager.watchdog();
                }
            }
            () = give_up => {
                tracing::error!("the hand-over did not end in time; the lease of the addresses will end it");
                bail!("the hand-over did not end in time");
            }
        }
    }
    scripts.stop().await;
    // The addresses are gone and the peer knows: nobody waits for this.
    notifier.finish(notify::DEADLINE);
    control.abort();
    if let Some(web) = web {
        web.abort();
    }
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    match joined {
        Ok(result) => result,
        Err(_) => bail!("the election thread has panicked; its message stands above"),
    }
}

fn ask_to_stop(
    inputs: &mpsc::UnboundedSender<Input>,
    manager: &ServiceManager,
    give_up_at: &mut Option<tokio::time::Instant>,
) {
    if give_up_at.is_none() {
        manager.stopping();
        tracing::info!("asked to stop: handing over");
        *give_up_at = Some(tokio::time::Instant::now() + SHUTDOWN_DEADLINE);
        // An election that has ended already ends the loop by its own event.
        drop(inputs.send(Input::Shutdown));
    }
}

fn spawn_election(
    settings: election::Settings,
    channels: Channels,
) -> anyhow::Result<thread::JoinHandle<anyhow::Result<()>>> {
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, election::run(settings, channels))
    };
    thread::Builder::new().name("vipd-election".to_owned()).spawn(body).context("cannot start the election thread")
}

fn settings(config: &Config) -> anyhow::Result<election::Settings> {
    // The election finds the source of a router that names none, and finds it anew when it changes.
    let parameters = config.parameters();
    let mut routers = Vec::new();
    let mut reception = Vec::new();
    for (router, own) in config.virtual_routers.iter().zip(&parameters.routers) {
        let authentication = authentication(router)?;
        let addresses: Vec<(IpAddr, u8)> = router.addresses.iter().map(|own| (own.address, own.prefix)).collect();
        reception.push(datapath::Router {
            interface: router.interface.clone(),
            ifindex: 0,
            vrid: router.vrid,
            version: router.version,
            source: own.source_address,
            peers: router.peers.clone(),
            authentication: authentication.clone(),
            interval: router.advertisement_interval,
            addresses: addresses.iter().map(|&(address, _)| address).collect(),
        });
        routers.push(RouterSettings {
            interface: router.interface.clone(),
            source: router.source_address,
            peers: router.peers.clone(),
            addresses,
            checksum_form: router.checksum_form,
            authentication,
        });
    }
    let choice = match config.datapath_mode {
        DatapathMode::Auto => Choice::Auto,
        DatapathMode::Native => Choice::Only(Mode::Native),
        DatapathMode::Generic => Choice::Only(Mode::Generic),
        DatapathMode::Socket => Choice::Only(Mode::Socket),
    };
    let datapath = datapath::Settings { choice, routers: reception, pin_dir: config.control.pin_dir.clone() };
    Ok(election::Settings { parameters, routers, datapath })
}

fn authentication(router: &VirtualRouter) -> Result<Authentication, authentication::Error> {
    match &router.authentication {
        None => Ok(Authentication::None),
        Some(config::Authentication::Pass { key_file }) => Authentication::read_password(key_file),
        Some(config::Authentication::HmacSha256 { key_file }) => Authentication::read_keys(key_file),
    }
}

/// What the adapter needs; fails when the password cannot be read.
pub(crate) fn server_settings(config: &config::Mysql) -> anyhow::Result<mysql::ServerSettings> {
    let endpoint = match &config.endpoint {
        config::Endpoint::Unix(path) => mysql::Endpoint::Unix(path.clone()),
        config::Endpoint::Tcp(address) => mysql::Endpoint::Tcp(*address),
    };
    Ok(mysql::ServerSettings {
        endpoint,
        user: config.user.clone(),
        password: config.password()?,
        probe_interval: config.probe_interval,
        probe_timeout: config.probe_timeout,
        write_probe: config.write_probe,
        writers: config.writers,
        drain_timeout: config.drain_timeout,
    })
}

/// The scripts that a virtual router depends on.
fn script_settings(config: &Config, parameters: &Parameters) -> Result<Vec<script::Settings>, script::Error> {
    let tracks = parameters.tracks.iter().enumerate().filter(|(_, track)| track.kind == TrackKind::Script);
    let found = tracks.filter_map(|(index, track)| {
        let script = config.scripts.iter().find(|script| script.name == track.name)?;
        Some(script::Account::find(&script.user).map(|account| script::Settings {
            track: TrackId(index),
            name: script.name.clone(),
            command: script.command.clone(),
            account,
            interval: script.interval,
            timeout: script.timeout,
        }))
    });
    found.collect()
}

/// All that can be seen of the agent from outside.
struct Window {
    config: Config,
    parameters: Parameters,
    view: watch::Receiver<Arc<View>>,
    facts: Option<watch::Receiver<mysql::ServerFacts>>,
    probe_times: Option<mysql::ProbeTimes>,
    started: Instant,
    scripts: Vec<Arc<script::Counts>>,
    notifications: Vec<Arc<notify::Results>>,
    metrics: Metrics,
}

impl Window {
    /// The lock is held for no longer than this: the election thread writes here.
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }
}

impl web::Source for Window {
    fn status(&self) -> Arc<status::Status> {
        let facts = self.facts.as_ref().map(|facts| facts.borrow().clone());
        Arc::new(assemble(&self.config, &self.parameters, &self.view(), facts, self.started))
    }

    fn metrics(&self) -> Result<String, std::fmt::Error> {
        let view = self.view();
        let (packets, event_loop_late) = (view.packets.clone(), view.late);
        let probes = self.probe_times.as_ref().map(|times| times.by_kind().to_vec()).unwrap_or_default();
        let (status, scripts, notifications) = (self.status(), &self.scripts, &self.notifications);
        let status = &*status;
        self.metrics.render(&metrics::Reading { status, packets, event_loop_late, probes, scripts, notifications })
    }

    fn alive(&self) -> bool {
        turns(&self.view())
    }
}

/// Whether the election thread has shown itself lately.
fn turns(view: &View) -> bool {
    clock::now().saturating_since(view.at) < ELECTION_STALL
}

fn router_name<'a>(config: &'a Config, transition: &agent_core::Transition) -> &'a str {
    config.virtual_routers.get(transition.router.0).map_or("?", |router| router.name.as_str())
}

fn log_transition(config: &Config, transition: &agent_core::Transition) {
    let router = router_name(config, transition);
    let (from, to, reason) = (transition.from.as_str(), transition.to.as_str(), transition.reason.as_str());
    let phases = status::PhasesMs::from(transition.phases);
    let detail = transition.detail.as_deref();
    tracing::info!(
        router,
        from,
        to,
        reason,
        detect_ms = phases.detect,
        fence_ms = phases.fence,
        drain_ms = phases.drain,
        open_ms = phases.open,
        vip_ms = phases.vip,
        announce_ms = phases.announce,
        detail,
        "{}",
        transition.reason.sentence()
    );
}

/// Puts together what `vipd status` shows.
fn assemble(
    config: &Config,
    parameters: &Parameters,
    view: &View,
    facts: Option<mysql::ServerFacts>,
    started: Instant,
) -> status::Status {
    let refused: std::collections::BTreeMap<String, u64> =
        view.refused.iter().map(|&(why, count)| (why.to_owned(), count)).collect();
    let mut virtual_routers = Vec::new();
    for (index, router) in config.virtual_routers.iter().enumerate() {
        let Some(seen) = view.snapshot.routers.get(index) else { continue };
        let counts = view.adverts.get(index).copied().unwrap_or_default();
        let transition = view.last_transitions.get(index).and_then(Option::as_ref);
        let candidate = seen.state == StateName::Active || seen.hindrance.is_none();
        virtual_routers.push(status::RouterStatus {
            name: router.name.clone(),
            vrid: router.vrid.as_u8(),
            interface: router.interface.clone(),
            state: seen.state.as_str().to_owned(),
            serving: seen.serving,
            priority: router.priority.as_u8(),
            effective_priority: if candidate { seen.effective_priority.as_u8() } else { 0 },
            priority_parts: seen.priority_parts.iter().map(|part| priority_part(part, parameters)).collect(),
            addresses: router.addresses.iter().map(|own| format!("{}/{}", own.address, own.prefix)).collect(),
            active_address: seen.active_address.map(|address| address.to_string()),
            advertisement_interval_ms: millis(router.advertisement_interval),
            lease_remaining_ms: seen.lease_remaining.map(millis),
            addresses_restored: seen.addresses_restored,
            adverts: status::AdvertCounts { sent: counts.sent, received: counts.received, refused: refused.clone() },
            hindrance: seen.hindrance.map(|reason| reason.as_str().to_owned()),
            hindrance_text: seen.hindrance.map(|reason| reason.sentence().to_owned()),
            last_transition: transition.map(|(at, transition)| transition_status(*at, transition)),
        });
    }
    let interface = config.virtual_routers.first().map(|router| router.interface.clone()).unwrap_or_default();
    status::Status {
        schema: status::SCHEMA,
        node: config.node_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: millis(started.elapsed()),
        datapath: status::DatapathStatus {
            mode: view.datapath_mode.to_owned(),
            interface,
            gate: view.gate,
            fallback_reason: view.fallback_reason.clone(),
        },
        virtual_routers,
        mysql: parameters.server.as_ref().map(|_| mysql_status(view, facts)),
        peer: None,
    }
}

fn priority_part(part: &agent_core::PriorityPart, parameters: &Parameters) -> status::PriorityPart {
    let source = match part.source {
        PartSource::Configured => "configured".to_owned(),
        PartSource::Server => "mysql".to_owned(),
        PartSource::Group(router) => {
            format!("virtual router {}", parameters.routers.get(router.0).map_or("?", |router| router.name.as_str()))
        }
        PartSource::Track(track) => parameters.tracks.get(track.0).map_or("?".to_owned(), ToString::to_string),
    };
    status::PriorityPart { source, value: part.value, reason: part.reason.clone(), fault: part.fault }
}

fn transition_status(at: SystemTime, transition: &agent_core::Transition) -> status::TransitionStatus {
    status::TransitionStatus {
        at: status::timestamp(at),
        from: transition.from.as_str().to_owned(),
        to: transition.to.as_str().to_owned(),
        reason: transition.reason.as_str().to_owned(),
        reason_text: transition.reason.sentence().to_owned(),
        detail: transition.detail.clone(),
        phases_ms: transition.phases.into(),
    }
}

fn news(config: &Config, transition: &agent_core::Transition) -> notify::News {
    let router = config.virtual_routers.get(transition.router.0);
    let addresses = router.map(|router| router.addresses.iter().map(ToString::to_string).collect());
    notify::News {
        schema: status::SCHEMA,
        node: config.node_name.clone(),
        virtual_router: router_name(config, transition).to_owned(),
        vrid: router.map_or(0, |router| router.vrid.as_u8()),
        addresses: addresses.unwrap_or_default(),
        transition: transition_status(SystemTime::now(), transition),
    }
}

fn mysql_status(view: &View, facts: Option<mysql::ServerFacts>) -> status::MysqlStatus {
    let standing = view.snapshot.standing.as_ref();
    let replication = standing.and_then(|standing| standing.replication.as_ref());
    let verdict = view.snapshot.eligible.unwrap_or(Ok(()));
    let reason = verdict.err();
    let trouble = view.snapshot.server.reason();
    status::MysqlStatus {
        state: view.snapshot.server.as_str().to_owned(),
        reason: trouble.map(str::to_owned),
        // An error of the past says nothing of a server that is well.
        reason_text: facts.as_ref().and_then(|facts| facts.last_error.clone()).filter(|_| trouble.is_some()),
        flavour: facts.as_ref().and_then(|facts| facts.flavour).map(|flavour| flavour.as_str().to_owned()),
        server_version: facts.as_ref().and_then(|facts| facts.server_version.clone()),
        writable: standing.map(|standing| standing.writable),
        replication: replication.map(|replication| status::ReplicationStatus {
            receiving: replication.receiver == agent_core::Receiver::Connected,
            applying: replication.applying,
            lag_ms: replication.lag.map(millis),
            eligible: verdict.is_ok(),
            reason: reason.map(|reason| reason.as_str().to_owned()),
            reason_text: reason.map(|reason| reason.sentence().to_owned()).or_else(|| replication.error.clone()),
        }),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
