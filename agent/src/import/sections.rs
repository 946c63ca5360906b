//! `global_defs`: defaults of the routers and mail.

use std::time::Duration;

use super::blocks::{Notes, START, Statement};
use super::lexer::Position;
use super::translation::{number, seconds};
use super::writer::{Document, list, quoted};

/// What `global_defs` says to all parts.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) version: Option<u8>,
    pub(super) interface: Option<String>,
    pub(super) refresh: Option<Duration>,
    to: Vec<String>,
    from: Option<String>,
    smtp: Option<String>,
    mail_at: Option<Position>,
}

impl Globals {
    pub(super) fn read(&mut self, statement: &Statement, notes: &mut Notes) {
        for child in statement.children() {
            let at = child.at();
            let keyword = child.keyword();
            let value = child.value().map(|word| word.text.clone());
            match keyword {
                "vrrp_version" => self.version = number(child, 2..=3, notes),
                "default_interface" => self.interface = value,
                "vrrp_garp_master_refresh" => self.refresh = seconds(child, notes).filter(|time| !time.is_zero()),
                "notification_email" => {
                    self.mail_at = Some(at);
                    let words = child.arguments().iter().chain(child.children().iter().flat_map(|it| &it.words));
                    self.to.extend(words.map(|word| word.text.clone()));
                }
                "notification_email_from" => {
                    self.mail_at.get_or_insert(at);
                    self.from = value;
                }
                "smtp_server" => {
                    self.mail_at.get_or_insert(at);
                    let port = child.arguments().get(1).map_or("25", |port| &port.text);
                    let host = |host: String| if host.contains(':') { format!("[{host}]") } else { host };
                    self.smtp = value.map(|it| format!("{}:{port}", host(it)));
                }
                _ => notes.add(at, format!("{keyword}: {}", no_equal(keyword))),
            }
        }
    }

    pub(super) fn write(&self, document: &mut Document, notes: &mut Notes) {
        let Some(at) = self.mail_at else { return };
        let (Some(from), Some(smtp), [_, ..]) = (&self.from, &self.smtp, self.to.as_slice()) else {
            notes.add(
                at,
                "mail is not imported: [notify] email needs notification_email, notification_email_from and smtp_server",
            );
            return;
        };
        notes.add(at, "became [notify] email: vipd mails each transition, keepalived only those of smtp_alert");
        document.line(at, "");
        document.comment(at, &format!("{}:{}: notification_email", notes.file(at), at.line.max(START.line)));
        document.line(at, "[notify]");
        let (to, from, smtp) = (list(&self.to), quoted(from), quoted(smtp));
        document.line(at, &format!("email = {{ to = {to}, from = {from}, smtp = {smtp} }}"));
    }
}

fn no_equal(keyword: &str) -> &'static str {
    match keyword {
        "router_id" => "no equal; the node is called by its host name, or by node.name",
        "smtp_connect_timeout" | "smtp_helo_name" => "no equal; vipd has its own deadline for mail",
        "smtp_alert" | "smtp_alert_vrrp" | "smtp_alert_checker" => "no equal; [notify] email hears of each transition",
        "vrrp_skip_check_adv_addr" => "no equal; vipd checks each advertisement in full",
        "vrrp_strict" => "no equal; vipd keeps to the RFC, and takes unicast peers and PASS where they are set",
        "vrrp_garp_interval"
        | "vrrp_gna_interval"
        | "vrrp_garp_master_delay"
        | "vrrp_garp_master_repeat"
        | "vrrp_garp_master_refresh_repeat"
        | "vrrp_garp_lower_prio_delay"
        | "vrrp_garp_lower_prio_repeat" => "no equal; virtual_router.announce.repeat says when addresses are announced",
        "enable_script_security" => "vipd always checks who may write a script",
        "script_user" => "no equal for all scripts; set the key user of each [[script]]",
        "vrrp_mcast_group4" | "vrrp_mcast_group6" => {
            "no equal; vipd uses the groups of the RFC, 224.0.0.18 and ff02::12: both hosts must use the same"
        }
        "notify_fifo"
        | "notify_fifo_script"
        | "vrrp_notify_fifo"
        | "vrrp_notify_fifo_script"
        | "shutdown_script"
        | "startup_script" => "not imported; see [notify] command",
        "vrrp_priority" | "vrrp_rt_priority" | "vrrp_no_swap" | "vrrp_rlimit_rtime" | "vrrp_rlimit_rttime"
        | "vrrp_process_name" | "process_names" | "process_name" | "max_auto_priority" => {
            "not needed; vipd sets the scheduling and memory of its election thread"
        }
        "vrrp_iptables" | "vrrp_ipsets" | "vrrp_nftables" | "nftables" => {
            "not needed; the gate of vipd refuses frames for an address that is not served"
        }
        "vrrp_startup_delay" => "not imported; set virtual_router.startup_delay",
        "enable_snmp_vrrp"
        | "enable_snmp_rfc"
        | "enable_snmp_checker"
        | "enable_snmp_keepalived"
        | "enable_traps"
        | "enable_dbus"
        | "dbus_service_name"
        | "snmp_socket"
        | "json_version" => "no equal; see vipd status --json and control.metrics",
        "dynamic_interfaces"
        | "no_email_faults"
        | "vrrp_check_unicast_src"
        | "vrrp_min_garp"
        | "vrrp_higher_prio_send_advert"
        | "vrrp_lower_prio_no_advert"
        | "vrrp_notify_priority_changes"
        | "vrrp_netlink_cmd_rcv_bufs"
        | "vrrp_netlink_monitor_rcv_bufs"
        | "checker_priority"
        | "bfd_priority"
        | "umask"
        | "vmac_prefix"
        | "disable_local_igmp"
        | "reload_repeat"
        | "config_save_dir"
        | "data_use_instance"
        | "use_symlink_paths"
        | "lvs_sync_daemon"
        | "lvs_flush"
        | "lvs_timeouts"
        | "default_interface_group" => "no equal; not imported",
        _ if keyword.starts_with('@') => {
            "applies under one configuration id only; left out. Take it in by hand on the host that has this id"
        }
        _ => "unknown keyword; not imported",
    }
}
