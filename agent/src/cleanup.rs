//! Takes away what an agent that has ended may have left on this host.

use anyhow::Context;

use crate::config::Config;
use crate::vip::{Vip, Vips};
use crate::{control, datapath, vip};

/// Removes the pinned BPF objects, the addresses of a configuration, and what else bears vipd's mark on its interfaces;
/// tries all of them and then tells what failed.
///
/// The addresses go first: without the gate a host would answer for them.
pub fn run(config: &Config) -> anyhow::Result<()> {
    if control::is_answered(&config.control.socket) {
        tracing::warn!("an agent runs with this configuration: it will bring back its addresses");
    }
    let addresses = remove_addresses(config);
    let pins = datapath::cleanup(&config.control.pin_dir)
        .with_context(|| format!("cannot remove the pins in {}", config.control.pin_dir.display()));
    addresses.and(pins)
}

fn remove_addresses(config: &Config) -> anyhow::Result<()> {
    let (mut vips, mut interfaces) = (Vec::new(), Vec::new());
    for router in &config.virtual_routers {
        let interface = router.interface.as_str();
        let Ok(ifindex) = nix::net::if_::if_nametoindex(interface) else {
            tracing::info!(interface, "there is no such interface, so no address on it");
            continue;
        };
        if let Err(error) = vip::promote_secondaries(interface) {
            tracing::debug!(%error, "removing an address may take others of its network along");
        }
        interfaces.push(ifindex);
        for address in &router.addresses {
            tracing::info!(interface, %address, "removing the address");
            vips.push(Vip { ifindex, address: address.address, prefix: address.prefix });
        }
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let kernel = Vips::open()?;
        let configured = kernel.remove(&vips).await;
        for vip in kernel.remove_leftover(&interfaces).await? {
            tracing::info!(address = %vip.address, "removed an address that bears vipd's mark and is not configured");
        }
        configured
    })?;
    Ok(())
}
