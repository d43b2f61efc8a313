//! The client of Rucio against a server with prepared answers: retries, renewal of tokens, answers that end early.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use macro_rules_attribute::apply;

use crate::world::{Ran, program, run};

const LOGIN: &str = "HTTP/1.1 200 OK\r\nX-Rucio-Auth-Token: new\r\nContent-Length: 0\r\n\r\n";
const NONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn refusal(status: &str, class: &str, message: &str) -> String {
    format!("HTTP/1.1 {status}\r\nExceptionClass: {class}\r\nExceptionMessage: {message}\r\nContent-Length: 0\r\n\r\n")
}

/// A server that gives these answers, one for each connection.
struct Server {
    folder: tempfile::TempDir,
    /// The first line and the token of each request.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answers: Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let config = format!(
            "[client]\nrucio_host = {url}\nauth_host = {url}\nauth_type = userpass\nusername = me\n\
             password = hidden-word\naccount = root\nrequest_retries = 2\n"
        );
        std::fs::write(folder.path().join("rucio.cfg"), config).expect("a configuration");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((stream, _)) = listener.accept() else { return };
                serve(stream, &answer, &log);
            }
        });
        Self { folder, seen }
    }

    fn ask(&self, sql: &str) -> Ran {
        let mut command = program();
        command.args([
            self.folder.path().to_str().expect("a path"),
            "--log",
            "butlersql=debug",
            "--format",
            "csv",
            "-c",
            sql,
        ]);
        command.env("RUCIO_CONFIG", self.folder.path().join("rucio.cfg")).env("TMPDIR", self.folder.path());
        let ran = run(&mut command);
        assert!(!ran.err.contains("hidden-word"), "a secret is shown: {}", ran.err);
        ran
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("a lock").clone()
    }
}

fn serve(stream: TcpStream, answer: &str, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let (mut first, mut token, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first).expect("a request");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let line = line.trim().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("x-rucio-auth-token: ") {
            value.clone_into(&mut token);
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().expect("a length");
        }
    }
    reader.read_exact(&mut vec![0; length]).expect("a body");
    let path = first.split(' ').nth(1).unwrap_or_default();
    log.lock().expect("a lock").push(format!("{path} {token}").trim().to_owned());
    let answer = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let mut stream = stream;
    stream.write_all(answer.as_bytes()).expect("an answer");
}

/// A list of two DIDs, whose end may be missing.
fn list(ends: bool) -> String {
    let line = |name: &str| format!("{{\"scope\": \"s\", \"name\": \"{name}\", \"did_type\": \"DATASET\"}}\n");
    let chunk = |text: String| format!("{:x}\r\n{text}\r\n", text.len());
    let end = if ends { "0\r\n\r\n" } else { "" };
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}{}{end}", chunk(line("a")), chunk(line("b")))
}

const DIDS: &str = "SELECT name FROM rucio_contents('s:d') ORDER BY name";

#[apply(test!)]
fn a_busy_server_is_asked_again() {
    let server = Server::new(vec![LOGIN.to_owned(), BUSY.to_owned(), BUSY.to_owned(), list(true)]);
    assert_eq!(server.ask(DIDS).ok(), "name\na\nb\n");
    assert_eq!(server.seen().len(), 4);
    let server = Server::new(vec![LOGIN.to_owned(), BUSY.to_owned(), BUSY.to_owned(), BUSY.to_owned()]);
    let ran = server.ask(DIDS);
    assert_eq!((ran.code, ran.out.as_str()), (4, "name\n"), "{}", ran.err);
    assert!(ran.err.contains("503"), "{}", ran.err);
}

#[apply(test!)]
fn an_expired_token_is_renewed_once_and_a_refusal_is_none() {
    let expired = refusal("401 Unauthorized", "CannotAuthenticate", "Cannot authenticate with given credentials");
    let server = Server::new(vec![LOGIN.to_owned(), expired.clone(), LOGIN.to_owned(), list(true)]);
    assert_eq!(server.ask(DIDS).ok(), "name\na\nb\n");
    let seen = server.seen();
    assert!(seen[0].starts_with("/auth/userpass") && seen[2].starts_with("/auth/userpass"), "{seen:?}");
    let server = Server::new(vec![LOGIN.to_owned(), expired.clone(), LOGIN.to_owned(), expired]);
    assert_eq!(server.ask(DIDS).code, 4);
    // AccessDenied is 401, too: another token would not help.
    let denied = refusal("401 Unauthorized", "AccessDenied", "Account me can not list scope s.");
    let server = Server::new(vec![LOGIN.to_owned(), denied]);
    let ran = server.ask(DIDS);
    assert!(ran.code == 4 && ran.err.contains("Account me can not list scope s"), "{}", ran.err);
    assert_eq!(server.seen().len(), 2);
}

#[apply(test!)]
fn an_answer_that_ends_early_is_an_error() {
    let server = Server::new(vec![LOGIN.to_owned(), list(false)]);
    let ran = server.ask(DIDS);
    assert_eq!((ran.code, ran.out.as_str()), (4, "name\n"), "{}", ran.err);
    assert!(ran.err.contains("ended before it was complete"), "{}", ran.err);
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"scope\": \"s".to_owned();
    let server = Server::new(vec![LOGIN.to_owned(), half]);
    let ran = server.ask(DIDS);
    assert!(ran.code == 4 && ran.err.contains("ended before it was complete"), "{}", ran.err);
}

#[apply(test!)]
fn other_servers_are_told_from_rucio() {
    let server = Server::new(vec![NONE.to_owned()]);
    let ran = server.ask(DIDS);
    assert!(ran.err.contains("is not a server of Rucio: the login has no header X-Rucio-Auth-Token"), "{}", ran.err);
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>".to_owned();
    let server = Server::new(vec![LOGIN.to_owned(), page]);
    let ran = server.ask(DIDS);
    assert!(ran.code == 1 && ran.err.contains("is not understood"), "{}", ran.err);
    let server = Server::new(vec![
        LOGIN.to_owned(),
        refusal("500 Internal Server Error", "DatabaseException", "An unknown Database Exception has occurred."),
    ]);
    let ran = server.ask(DIDS);
    assert!(
        ran.code == 1 && ran.err.contains("An unknown Database Exception has occurred (DatabaseException)"),
        "{}",
        ran.err
    );
    assert_eq!(server.seen().len(), 2, "it is not tried again");
}
