//! The text of a configuration file.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use vipd::config::Config;

/// A text is taken or every problem is named; what is taken gives parameters of the right shape.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text, Path::new("vipd.toml")) {
        Ok(config) => {
            assert!(!config.virtual_routers.is_empty());
            assert!(config.virtual_routers.iter().all(|router| !router.addresses.is_empty()));
            let parameters = config.parameters(|_| Ok::<IpAddr, ()>(IpAddr::V4(Ipv4Addr::LOCALHOST)));
            let routers = parameters.map(|parameters| parameters.routers);
            assert!(
                routers.as_ref().is_ok_and(|routers| routers.iter().all(|router| {
                    (1..=254).contains(&router.priority.as_u8()) && !router.advertisement_interval.is_zero()
                })),
                "{routers:?}"
            );
            let _sentences = config.not_in_effect();
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(!problem.to_string().is_empty());
            }
        }
    }
}
