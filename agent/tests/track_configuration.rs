//! What a configuration says of tracked interfaces and scripts, and what is wrong with it.

use std::path::Path;
use std::time::Duration;

use agent_core::{TrackId, TrackKind, TrackParameters, TrackWeight};
use vipd::config::{Config, Problem};

/// The smallest good configuration, of four lines.
const GOOD: &str = r#"[[virtual_router]]
interface = "eth0"
vrid = 51
addresses = ["192.0.2.10/24"]
"#;

fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    Config::parse(text, Path::new("vipd.toml"))
}

#[test]
fn an_interface_is_named_plainly_or_with_its_weight() {
    let list = "track_interfaces = [\"eth1\", { interface = \"eth2\", weight = -20 }, { interface = \"eth3\" }]";
    let config = parse(&format!("{GOOD}{list}\n")).unwrap();
    let tracked = &config.virtual_routers[0].track_interfaces;
    let tracked: Vec<_> = tracked.iter().map(|own| (own.name.as_str(), own.weight)).collect();
    assert_eq!(tracked, [("eth1", 0), ("eth2", -20), ("eth3", 0)]);
    assert!(config.not_in_effect().is_empty());
}

#[test]
fn a_script_runs_as_nobody_every_second_unless_told_otherwise() {
    let config = parse(&format!("{GOOD}[[script]]\nname = \"a\"\ncommand = \"/bin/a -x 'b c'\"\n")).unwrap();
    let script = &config.scripts[0];
    assert_eq!(script.command, ["/bin/a", "-x", "b c"]);
    assert_eq!((script.user.as_str(), script.interval, script.timeout), ("nobody", SECOND, SECOND));
    assert_eq!((script.rise, script.fall, script.weight), (2, 2, 0));
    let sentences = config.not_in_effect();
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    assert!(sentences[0].contains("\"a\": never run"), "{sentences:?}");
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_several_routers_track_is_looked_at_once() {
    let router = |vrid: u8, tracks: &str| {
        format!("[[virtual_router]]\ninterface = \"eth0\"\nvrid = {vrid}\naddresses = [\"192.0.2.{vrid}\"]\n{tracks}\n")
    };
    let text = [
        router(1, "track_interfaces = [\"eth1\"]\ntrack_scripts = [\"disk\"]"),
        router(2, "track_interfaces = [\"disk\", { interface = \"eth1\", weight = 5 }]\ntrack_scripts = [\"disk\"]"),
        "[[script]]\nname = \"idle\"\ncommand = \"/bin/true\"\n".to_owned(),
        "[[script]]\nname = \"disk\"\ncommand = \"/bin/true\"\nrise = 3\nfall = 4\nweight = -7\n".to_owned(),
    ];
    let parameters = parse(&text.concat()).unwrap().parameters();
    let track = |kind, name: &str, rise, fall| TrackParameters { kind, name: name.to_owned(), rise, fall };
    let tracks = [
        track(TrackKind::Interface, "eth1", 1, 1),
        track(TrackKind::Interface, "disk", 1, 1),
        track(TrackKind::Script, "disk", 3, 4),
    ];
    assert_eq!(parameters.tracks, tracks);
    let weight = |track, weight| TrackWeight { track: TrackId(track), weight };
    assert_eq!(parameters.routers[0].tracks, [weight(0, 0), weight(2, -7)]);
    assert_eq!(parameters.routers[1].tracks, [weight(1, 0), weight(0, 5), weight(2, -7)]);
}

#[test]
fn each_fault_is_named_with_its_remedy() {
    let script = |lines: &str| format!("[[script]]\nname = \"a\"\n{lines}");
    let cases: &[(String, usize, &str, &[&str])] = &[
        ("track_scripts = [\"disk\"]".to_owned(), 5, "virtual_router[0].track_scripts[0]", &["no [[script]]"]),
        ("track_interfaces = [\"a/b\"]".to_owned(), 5, "virtual_router[0].track_interfaces[0]", &["15 bytes"]),
        ("track_interfaces = [7]".to_owned(), 5, "virtual_router[0].track_interfaces[0]", &["a text in quotes"]),
        (
            "track_interfaces = [{ interface = \"eth1\", weight = -254 }]".to_owned(),
            5,
            "virtual_router[0].track_interfaces[0].weight",
            &["-253..=253", "disqualify"],
        ),
        (
            "track_interfaces = [{ weight = -20 }]".to_owned(),
            5,
            "virtual_router[0].track_interfaces[0].interface",
            &["missing"],
        ),
        (
            "track_interfaces = [{ interface = \"eth1\", wieght = -20 }]".to_owned(),
            5,
            "virtual_router[0].track_interfaces[0].wieght",
            &["did you mean weight?"],
        ),
        (
            "track_interfaces = [\"eth1\", { interface = \"eth1\", weight = 1 }]".to_owned(),
            5,
            "virtual_router[0].track_interfaces[1]",
            &["in the list already"],
        ),
        (
            format!("track_interfaces = [{}]", "\"e\",".repeat(33)),
            5,
            "virtual_router[0].track_interfaces",
            &["33 entries", "up to 32"],
        ),
        (script(""), 5, "script[0].command", &["missing", "a command line"]),
        (script("command = \"check\""), 7, "script[0].command", &["absolute path"]),
        (script("command = [\"sh\"]"), 7, "script[0].command", &["absolute path"]),
        (script("command = []"), 7, "script[0].command", &["absolute path"]),
        (script("command = [\"/bin/a\", 7]"), 7, "script[0].command[1]", &["a text in quotes"]),
        (script("command = \"/bin/a | /bin/b\""), 7, "script[0].command", &["no shell", "[\"/bin/sh\", \"-c\""]),
        (script("command = \"/bin/a 'b\""), 7, "script[0].command", &["not closed"]),
        (
            script("command = \"/bin/a\"\nuser = \"nosuchuser\""),
            8,
            "script[0].user",
            &["\"nosuchuser\"", "no such user", "adduser"],
        ),
        (script("command = \"/bin/a\"\nuser = 0"), 8, "script[0].user", &["a text in quotes"]),
        (script("command = \"/bin/a\"\nweight = 300"), 8, "script[0].weight", &["-253..=253"]),
        (script("command = \"/bin/a\"\ninterval = \"10ms\""), 8, "script[0].interval", &["100ms..=1h"]),
        (script("command = \"/bin/a\"\ntimeout = \"2h\""), 8, "script[0].timeout", &["10ms..=1h"]),
        (script("command = \"/bin/a\"\nrise = 0"), 8, "script[0].rise", &["1..=100"]),
        (script("command = \"/bin/a\"\nfall = 101"), 8, "script[0].fall", &["1..=100"]),
    ];
    for (faulty, line, key, words) in cases {
        let text = format!("{GOOD}{faulty}\n");
        let problems = parse(&text).expect_err(&text);
        let found = problems.iter().find(|problem| problem.line == *line && problem.key == *key);
        let found =
            found.unwrap_or_else(|| panic!("no {key} at line {line} among {problems:#?} of\n{text}")).to_string();
        for word in *words {
            assert!(found.contains(word), "{word} is not in: {found}");
        }
        assert_eq!(problems.len(), 1, "one fault, one problem: {problems:#?} of\n{text}");
    }
}
