//! The text of a keepalived.conf.

use std::path::Path;

use vipd::config::Config;
use vipd::import::{Source, keepalived};

/// A text is refused at a place, or gives a file that the agent takes or whose faults are told as remarks.
pub fn keepalived_import(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let main = Source { name: "keepalived.conf".to_owned(), text: text.to_owned() };
    match keepalived(main, &mut |include| Err(format!("{} is not read here", include.pattern))) {
        Ok(imported) => {
            let problems = Config::parse(&imported.toml, Path::new("vipd.toml")).err().unwrap_or_default();
            // Beyond the most that are kept, the last remark says that there were more.
            let told = imported.remarks.iter().filter(|remark| remark.text.contains("vipd would refuse")).count();
            assert!(told >= problems.len() || imported.remarks.len() >= 1000, "{problems:?} {:?}", imported.remarks);
            assert!(imported.remarks.iter().all(|remark| remark.place.line > 0 && remark.place.column > 0));
        }
        Err(error) => {
            assert!(error.place.line > 0 && error.place.column > 0);
            assert!(!error.reason.is_empty());
        }
    }
}
