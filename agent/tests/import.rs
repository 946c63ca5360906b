//! `vipd import keepalived`: what becomes of a keepalived.conf.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use vipd::config::Config;
use vipd::import::{ImportError, Imported, Source, keepalived, read_keepalived};

fn import(text: &str) -> Result<Imported, ImportError> {
    let main = Source { name: "k.conf".to_owned(), text: text.to_owned() };
    keepalived(main, &mut |include| Err(format!("there is no {}", include.pattern)))
}

/// The instance of a file with these lines in it.
fn router(lines: &str) -> Imported {
    let text = format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{\n 10.0.0.9/24\n }}\n{lines}\n}}\n"
    );
    import(&text).unwrap()
}

fn remarks(imported: &Imported) -> String {
    imported.remarks.iter().map(|remark| format!("{remark}\n")).collect()
}

#[track_caller]
fn assert_taken(imported: &Imported) -> Config {
    Config::parse(&imported.toml, Path::new("vipd.toml")).unwrap_or_else(|problems| {
        panic!("{}\n{problems:?}", imported.toml);
    })
}

#[test]
fn the_file_of_the_tutorial_becomes_a_pair_with_a_server_check() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived/tutorial.conf");
    let imported = read_keepalived(&file).unwrap();
    let settings: Vec<&str> = imported.toml.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let expected = [
        "[[virtual_router]]",
        "name = \"VI_1\"",
        "interface = \"ens33\"",
        "vrid = 51",
        "priority = 100",
        "version = 2",
        "advertisement_interval = \"1s\"",
        "addresses = [\"192.168.73.150\"]",
        "authentication = { type = \"pass\", key_file = \"/etc/vipd/vrrp-VI_1.pass\" }",
        "[mysql]",
        "endpoint = \"/run/mysqld/mysqld.sock\"",
        "user = \"vipd\"",
        "password_file = \"/etc/vipd/mysql.pass\"",
        "[mysql.replication]",
        "writers = \"active\"",
        "[notify]",
        "email = { to = [\"acassen@firewall.loc\", \"failover@firewall.loc\"], from = \"Alexandre.Cassen@firewall.loc\", \
         smtp = \"192.168.200.1:25\" }",
    ];
    assert_eq!(settings, expected);
    assert_taken(&imported);
}

#[test]
fn each_line_of_the_tutorial_that_has_no_equal_is_named_with_its_place() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived/tutorial.conf");
    let imported = read_keepalived(&file).unwrap();
    let named: Vec<(usize, &str)> = imported
        .remarks
        .iter()
        .map(|remark| (remark.place.line, remark.text.split([':', ' ']).next().unwrap_or_default()))
        .collect();
    let expected = [
        (4, "became"),
        (10, "smtp_connect_timeout"),
        (11, "router_id"),
        (12, "vrrp_skip_check_adv_addr"),
        (13, "vrrp_garp_interval"),
        (14, "vrrp_gna_interval"),
        (17, "vrrp_script"),
        (22, "state"),
        (29, "auth_pass"),
        (39, "virtual_server"),
    ];
    assert_eq!(named, expected);
}

#[test]
fn a_password_stands_neither_in_the_result_nor_in_a_remark() {
    for lines in [
        "authentication {\n auth_type PASS\n auth_pass s3cr3t\n}",
        "authentication {\n auth_type PASS\n auth_pass \"s3cr3t x\"\n}",
        "version 3\nauthentication {\n auth_type PASS\n auth_pass s3cr3t s3cr3t\n}",
        "authentication {\n auth_type AH\n auth_pass s3cr3t\n}",
    ] {
        let imported = router(lines);
        assert!(!imported.toml.contains("s3cr3t"), "{}", imported.toml);
        assert!(!remarks(&imported).contains("s3cr3t"), "{}", remarks(&imported));
        assert!(remarks(&imported).contains("auth"), "{}", remarks(&imported));
    }
}

#[test]
fn what_has_an_equal_is_taken_over() {
    let imported = router(
        " priority 150\n version 3\n advert_int 0.2\n nopreempt\n unicast_src_ip 10.0.0.1\n unicast_peer {\n 10.0.0.2\n }\n \
         garp_master_refresh 90\n preempt_delay 30",
    );
    for line in [
        "priority = 150",
        "version = 3",
        "advertisement_interval = \"200ms\"",
        "preempt = false",
        "source_address = \"10.0.0.1\"",
        "peers = [\"10.0.0.2\"]",
        "addresses = [\"10.0.0.9/24\"]",
    ] {
        assert!(imported.toml.lines().any(|found| found == line), "{line}:\n{}", imported.toml);
    }
    assert!(imported.toml.contains("refresh = \"1m30s\"") || imported.toml.contains("refresh = \"90s\""));
    assert_taken(&imported);
}

#[test]
fn a_script_that_is_no_server_check_becomes_one_of_ours() {
    let text = "vrrp_script disk {\n script \"/usr/local/bin/disk-ok /var\"\n interval 2\n fall 3\n rise 2\n weight -20\n}\n\
                vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n 10.0.0.9/24\n }\n \
                track_script {\n disk\n }\n}\n";
    let imported = import(text).unwrap();
    let config = assert_taken(&imported);
    let [script] = &config.scripts[..] else { panic!("{:?}", config.scripts) };
    assert_eq!((script.name.as_str(), script.rise, script.fall, script.weight), ("disk", 2, 3, -20));
    assert_eq!(config.virtual_routers[0].track_scripts, ["disk"]);
}

#[test]
fn a_script_keeps_its_user_and_gets_the_shell_that_it_needs() {
    let text = "vrrp_script load {\n script \"test $(cat /tmp/x) -lt 5\"\n user root wheel\n}\n\
                vrrp_script plain {\n script \"/bin/true\"\n}\n\
                vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n 10.0.0.9/24\n }\n \
                track_script {\n load\n plain\n }\n}\n";
    let imported = import(text).unwrap();
    let config = assert_taken(&imported);
    let [load, plain] = &config.scripts[..] else { panic!("{:?}", config.scripts) };
    assert_eq!(load.command, ["/bin/sh", "-c", "test $(cat /tmp/x) -lt 5"]);
    assert_eq!((load.user.as_str(), plain.user.as_str()), ("root", "nobody"));
    let told = remarks(&imported);
    assert!(told.contains("group") && told.contains("vrrp_script plain names no user"), "{told}");
}

#[test]
fn a_tracked_interface_keeps_its_weight() {
    let imported = router(" priority 100\n track_interface {\n eth1\n eth2 weight -20\n eth3 weight 30\n }");
    assert!(
        imported.toml.contains(
            "track_interfaces = [\"eth1\", { interface = \"eth2\", weight = -20 }, { interface = \"eth3\", weight = -30 }]"
        ),
        "{}",
        imported.toml
    );
    // keepalived would have added 30 while all is well.
    assert!(imported.toml.contains("priority = 130"), "{}", imported.toml);
    assert_taken(&imported);
}

#[test]
fn what_vipd_does_not_do_is_named() {
    let imported = router(
        " use_vmac\n priority 255\n virtual_routes {\n default via 10.0.0.254\n }\n notify_master \"/bin/true\"\n smtp_alert\n \
         wonder 5",
    );
    let told = remarks(&imported);
    for keyword in ["use_vmac", "255", "virtual_routes", "notify_master", "smtp_alert", "wonder"] {
        assert!(told.contains(keyword), "{keyword}:\n{told}");
    }
    assert!(imported.toml.contains("priority = 254"));
    assert_taken(&imported);
}

#[test]
fn a_fault_has_its_line_and_column() {
    let cases = [
        ("vrrp_instance A {\n", "k.conf:1:17: this { is never closed"),
        ("vrrp_instance A {\n}\n  }\n", "k.conf:3:3: this } closes nothing"),
        ("global_defs {\n router_id \"x\n}\n", "k.conf:2:12: this quote is not closed on its line"),
        ("# one\ninclude other.conf\n", "k.conf:2:1: there is no other.conf"),
    ];
    for (text, expected) in cases {
        let error = import(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
    // No stack overflows, whatever the depth.
    let error = import(&"a {\n".repeat(100_000)).unwrap_err();
    assert!(error.place.line <= 40, "{error}");
}

/// A folder that ends with its value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipd-import-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn includes_are_followed_relative_to_their_file_and_end() {
    let folder = Folder::new("includes");
    let instance =
        "vrrp_instance A {\n interface eth0\n virtual_router_id 3\n virtual_ipaddress {\n 10.0.0.9/24\n }\n}\n";
    folder.write("part-a.conf", instance);
    folder.write("part-b.conf", instance.replace("A {", "B {").replace("id 3", "id 4").replace(".9/", ".8/"));
    let main = folder.write("main.conf", "include part-*.conf\n");
    assert_eq!(read_keepalived(&main).unwrap().routers, 2);

    let itself = folder.write("itself.conf", "include itself.conf\n");
    let error = read_keepalived(&itself).unwrap_err().to_string();
    assert!(error.contains("itself.conf"), "{error}");
    let foreign = folder.write("foreign.conf", b"vrrp_instance \xc4\xe3 {\n}\n");
    let error = read_keepalived(&foreign).unwrap_err().to_string();
    assert!(error.contains("foreign.conf:1:15") && error.contains("UTF-8"), "{error}");
    read_keepalived(Path::new("/nonexistent/keepalived.conf")).unwrap_err();
}

/// Words that mean something, so that chance gets beyond the first line.
fn words() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "vrrp_instance",
        "vrrp_script",
        "global_defs",
        "{",
        "}",
        "\n",
        "interface",
        "eth0",
        "virtual_router_id",
        "51",
        "priority",
        "100",
        "advert_int",
        "0.05",
        "virtual_ipaddress",
        "10.0.0.9/24",
        "fe80::1",
        "track_script",
        "script",
        "\"killall -0 mysqld\"",
        "weight",
        "-20",
        "authentication",
        "auth_pass",
        "\"",
        "!",
        "#",
        "include",
        "unicast_peer",
    ]);
    let word = prop_oneof![8 => known.prop_map(str::to_owned), 1 => "\\PC{0,12}"];
    prop::collection::vec(word, 0..80).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_refused_at_a_place_or_gives_a_file_whose_faults_are_told(text in words()) {
        match import(&text) {
            Ok(imported) => {
                let faults = Config::parse(&imported.toml, Path::new("vipd.toml")).err().map_or(0, |faults| faults.len());
                let told = imported.remarks.iter().filter(|remark| remark.text.contains("vipd would refuse")).count();
                prop_assert!(told >= faults, "{}\n{:?}", imported.toml, imported.remarks);
            }
            Err(error) => prop_assert!(error.place.line > 0 && error.place.column > 0, "{error}"),
        }
    }
}
