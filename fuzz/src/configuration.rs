//! The text of a configuration file.

use std::path::Path;

use vipd::config::Config;

/// A text is taken or every problem is named; what is taken gives parameters of the right shape.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text, Path::new("vipd.toml")) {
        Ok(config) => {
            assert!(!config.virtual_routers.is_empty());
            assert!(config.virtual_routers.iter().all(|router| !router.addresses.is_empty()));
            for router in config.parameters().routers {
                let priority = router.priority.as_u8();
                assert!((1..=254).contains(&priority) && !router.advertisement_interval.is_zero(), "{router:?}");
            }
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
