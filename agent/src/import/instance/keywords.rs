/// Why a keyword of a `vrrp_instance` has no equal.
pub(super) fn no_equal(keyword: &str) -> &'static str {
    match keyword {
        "virtual_ipaddress_excluded" => {
            "not imported; vipd advertises every address it moves: add them to addresses once both hosts run vipd \
             (IPv6 beside IPv4 in a [[virtual_router]] of its own)"
        }
        "virtual_routes" | "virtual_rules" => "no equal; vipd moves addresses only. Use [notify] command for routes",
        "smtp_alert" | "no_smtp_alert" => "no equal; [notify] email hears of each transition",
        "garp_master_delay"
        | "garp_master_repeat"
        | "garp_master_refresh_repeat"
        | "garp_lower_prio_delay"
        | "garp_lower_prio_repeat"
        | "garp_interval"
        | "gna_interval" => "no equal; virtual_router.announce.repeat says when addresses are announced",
        "use_vmac" | "vmac_xmit_base" | "vmac_addr" | "use_ipvlan" => {
            "no equal; vipd leaves the interface its own MAC address and announces the addresses"
        }
        "dont_track_primary" => "no equal; a host whose interface is down holds no address",
        "lvs_sync_daemon_interface" | "lvs_sync_daemon_inteface" => "not imported; vipd does no load balancing (LVS)",
        "track_file" | "track_bfd" => "no equal; write a [[script]]",
        "checksum_compatibility" => "not needed; vipd takes both forms of the checksum and sends that of keepalived",
        "skip_check_adv_addr" => "no equal; vipd checks each advertisement in full",
        "strict_mode" => "no equal; vipd keeps to the RFC, and takes unicast peers and PASS where they are set",
        "native_ipv6" => "not needed; the addresses tell the family",
        "accept" | "no_accept" => "no equal; the Active host takes what is sent to the address (Accept_Mode is on)",
        "debug" => "no equal; set VIPD_LOG=debug",
        "promote_secondaries"
        | "linkbeat_use_polling"
        | "higher_prio_send_advert"
        | "lower_prio_no_advert"
        | "kernel_rx_buf_size"
        | "old_unicast_checksum"
        | "unicast_fault_no_peers"
        | "unicast_ttl"
        | "check_unicast_src"
        | "track_src_ip"
        | "thread_timer_expired"
        | "down_timer_adverts"
        | "rogue_timeout"
        | "notify_priority_changes" => "no equal; not imported",
        _ if keyword.starts_with("notify") => "not imported; see [notify] command, which gets the transition as JSON",
        _ if keyword.starts_with('@') => {
            "applies under one configuration id only; left out. Take it in by hand on the host that has this id"
        }
        _ => "unknown keyword; not imported",
    }
}
