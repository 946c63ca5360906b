//! Telling others of changes of state: real programs, and servers of HTTP and SMTP on loopback.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use vipd::config::{Email, Notify};
use vipd::notify::{News, Notifier};
use vipd::status::{PhasesMs, TransitionStatus};

const PATIENCE: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_millis(500);

fn news(to: &str) -> News {
    News {
        schema: 1,
        node: "db1".to_owned(),
        virtual_router: "mysql".to_owned(),
        vrid: 51,
        addresses: vec!["192.0.2.10/24".to_owned()],
        transition: TransitionStatus {
            at: "2026-01-01T00:00:00.000Z".to_owned(),
            from: "backup".to_owned(),
            to: to.to_owned(),
            reason: "peer_resigned".to_owned(),
            reason_text: "the Active Router resigned".to_owned(),
            detail: None,
            phases_ms: PhasesMs::default(),
        },
    }
}

fn start(command: Option<Vec<String>>, webhook: Option<String>, email: Option<Email>) -> Notifier {
    Notifier::start(Some(&Notify { command, webhook, email }), DEADLINE).unwrap()
}

/// A shell script, where nobody else may write.
fn script(name: &str, body: &str) -> (PathBuf, PathBuf) {
    let folder = PathBuf::from(format!("/run/vipd-test-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("notify");
    fs::write(&path, format!("#!/bin/sh\nfolder={}\n{body}\n", folder.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, path)
}

fn is_root(name: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {name}: a command that is told belongs to root");
    }
    root
}

#[test]
fn a_command_gets_every_change_as_json_in_order_and_one_that_hangs_is_killed() {
    if !is_root("a_command_gets_every_change") {
        return;
    }
    // The second one hangs together with a child of its own.
    let (folder, path) = script(
        "order",
        "cat >> $folder/told; echo >> $folder/told\n\
         [ $(wc -l < $folder/told) != 2 ] || { sleep 60 & echo $! > $folder/child; sleep 60; }",
    );
    let notifier = start(Some(vec![path.display().to_string(), "now".to_owned()]), None, None);
    let results = notifier.results();
    let begun = Instant::now();
    for to in ["active", "backup", "initialize"] {
        notifier.tell(news(to));
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "telling waits for nobody");
    notifier.finish(PATIENCE);
    let told = fs::read_to_string(folder.join("told")).unwrap();
    let told: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = told.iter().map(|news| news["to"].as_str().unwrap()).collect();
    assert_eq!(states, ["active", "backup", "initialize"]);
    assert_eq!(told[0]["virtual_router"], "mysql");
    assert_eq!(told[0]["addresses"][0], "192.0.2.10/24");
    assert_eq!((results[0].told(), results[0].failed()), (2, 1));
    let child: i32 = fs::read_to_string(folder.join("child")).unwrap().trim().parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "the child of a killed command lives on: {stat}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_command_that_others_could_have_written_is_not_run() {
    if !is_root("a_command_that_others_could_have_written") {
        return;
    }
    let (folder, path) = script("writable", "touch $folder/ran");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let notifier = start(Some(vec![path.display().to_string()]), None, None);
    let results = notifier.results();
    notifier.tell(news("active"));
    notifier.finish(PATIENCE);
    assert_eq!((results[0].told(), results[0].failed()), (0, 1));
    assert!(!folder.join("ran").exists());
    fs::remove_dir_all(folder).unwrap();
}

/// Answers each connection on a thread; gives the port and what was heard.
fn listen(answer: fn(&mut TcpStream) -> String) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, hear) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop(heard.send(answer(&mut stream.unwrap())));
        }
    });
    (port, hear)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

#[test]
fn a_webhook_gets_the_change_as_the_body_of_a_post() {
    let (port, heard) = listen(|stream| {
        let request = read_request(stream);
        stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
        request
    });
    let notifier = start(None, Some(format!("http://127.0.0.1:{port}/hook")), None);
    let results = notifier.results();
    notifier.tell(news("active"));
    let request = heard.recv_timeout(PATIENCE).unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("content-type: application/json"), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["reason"], "peer_resigned");
    notifier.finish(PATIENCE);
    assert_eq!((results[0].told(), results[0].failed()), (1, 0));
}

#[test]
fn a_webhook_that_refuses_or_hangs_is_counted_as_failed() {
    let (refusing, _heard) = listen(|stream| {
        let request = read_request(stream);
        stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        request
    });
    let (hanging, _silence) = listen(|_| {
        thread::sleep(PATIENCE);
        String::new()
    });
    for port in [refusing, hanging] {
        let notifier = start(None, Some(format!("http://127.0.0.1:{port}/")), None);
        let results = notifier.results();
        let begun = Instant::now();
        notifier.tell(news("active"));
        notifier.finish(PATIENCE);
        assert!(begun.elapsed() < PATIENCE / 2, "given up at the deadline");
        assert_eq!((results[0].told(), results[0].failed()), (0, 1));
    }
}

/// A mail server that takes everything; what it was given.
fn take_mail(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut mail = String::new();
    stream.write_all(b"220 sink ESMTP\r\n").unwrap();
    let mut in_data = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return mail;
        }
        mail.push_str(&line);
        if in_data {
            if line == ".\r\n" {
                in_data = false;
                stream.write_all(b"250 taken\r\n").unwrap();
            }
            continue;
        }
        let answer: &[u8] = match line.get(..4) {
            Some("DATA") => {
                in_data = true;
                b"354 go on\r\n"
            }
            Some("QUIT") => {
                stream.write_all(b"221 bye\r\n").unwrap();
                return mail;
            }
            _ => b"250 sink\r\n",
        };
        stream.write_all(answer).unwrap();
    }
}

#[test]
fn a_mail_goes_to_everybody_with_the_state_in_its_subject() {
    let (port, heard) = listen(take_mail);
    let email = Email {
        to: vec!["dba@example.org".to_owned(), "Night <night@example.org>".to_owned()],
        from: "vipd@db1".to_owned(),
        smtp: format!("127.0.0.1:{port}"),
    };
    let notifier = start(None, None, Some(email));
    let results = notifier.results();
    notifier.tell(news("active"));
    notifier.finish(PATIENCE);
    assert_eq!((results[0].told(), results[0].failed()), (1, 0));
    let mail = heard.recv_timeout(PATIENCE).unwrap();
    for part in [
        "MAIL FROM:<vipd@db1>",
        "RCPT TO:<dba@example.org>",
        "RCPT TO:<night@example.org>",
        "Subject: vipd on db1: mysql is active, was backup (peer_resigned)",
        "the Active Router resigned",
    ] {
        assert!(mail.contains(part), "{part} in:\n{mail}");
    }
}

#[test]
fn what_waits_behind_a_way_that_hangs_is_lost_beyond_sixty_four_and_counted() {
    let (port, _silence) = listen(|_| {
        thread::sleep(PATIENCE * 3);
        String::new()
    });
    let notifier = start(None, Some(format!("http://127.0.0.1:{port}/")), None);
    let results = notifier.results();
    for _ in 0..200 {
        notifier.tell(news("active"));
    }
    assert!(results[0].failed() >= 200 - 64 - 2, "{}", results[0].failed());
}
