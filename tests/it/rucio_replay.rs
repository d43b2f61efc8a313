//! The tables and procedures of Rucio without a server: `tests/rucio/exchanges.jsonl` holds the requests of statements,
//! and what a real server answered; `tests/rucio/record.py` recorded them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use macro_rules_attribute::apply;
use serde_json::Value;

use crate::world::{program, run};

/// Reads a request: method, target and body.
fn request(stream: &TcpStream) -> Option<(String, String, String)> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    Some((words.next()?, words.next()?, String::from_utf8(body).ok()?))
}

/// Gives each request its recorded answer, which is used once. A request that was not recorded is a failure.
fn serve(listener: TcpListener, left: Arc<Mutex<Vec<Value>>>, strange: Arc<Mutex<Vec<String>>>) {
    for stream in listener.incoming().flatten() {
        let Some((method, target, body)) = request(&stream) else { continue };
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let mut left = left.lock().expect("a lock");
        let found = left.iter().position(|exchange| {
            let request = &exchange["request"];
            let same_body = json(request["body"].as_str().unwrap_or_default()) == json(&body);
            request["method"] == method && request["target"] == target && same_body
        });
        let answer = match found {
            Some(at) => left.remove(at)["response"].clone(),
            None => {
                strange.lock().expect("a lock").push(format!("{method} {target} {body}"));
                Value::from_iter([("status", Value::from(418)), ("body", Value::from("")), ("headers", Value::Null)])
            }
        };
        let body = answer["body"].as_str().unwrap_or_default();
        let mut text = format!("HTTP/1.1 {} Recorded\r\nConnection: close\r\n", answer["status"]);
        for (name, value) in answer["headers"].as_object().into_iter().flatten() {
            text.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap_or_default()));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        (&stream).write_all(text.as_bytes()).expect("an answer");
    }
}

#[apply(test!)]
fn statements_send_the_recorded_requests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rucio/exchanges.jsonl");
    let text = std::fs::read_to_string(path).expect("the recorded exchanges");
    let folder = tempfile::tempdir().expect("a folder");
    let files = folder.path().join("ancillary/recorded");
    std::fs::create_dir_all(&files).expect("a folder");
    for name in ["a", "b", "c"] {
        std::fs::write(files.join(format!("{name}.zip")), format!("archive {name}\n")).expect("a file");
    }
    let place = folder.path().to_str().expect("text");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("an address").to_string();
    let config = format!(
        "[client]\nrucio_host = http://{server}\nauth_host = http://{server}\nauth_type = userpass\nusername = tester\n\
         password = hidden-word\naccount = root\nrequest_retries = 1\n"
    );
    std::fs::write(folder.path().join("rucio.cfg"), config).expect("a configuration");
    let (left, strange) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (answers, wrong) = (Arc::clone(&left), Arc::clone(&strange));
    std::thread::spawn(move || serve(listener, answers, wrong));
    let mut statements = 0;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let own =
            |name: &str| record[name].as_str().unwrap_or_default().replace("FOLDER", place).replace("SERVER", &server);
        *left.lock().expect("a lock") = record["exchanges"].as_array().cloned().unwrap_or_default();
        let mut command = program();
        command.args([place, "--write", "-q", "--format", "csv", "-c", &own("sql")]);
        command.env("RUCIO_CONFIG", folder.path().join("rucio.cfg")).env("TMPDIR", place);
        let ran = run(&mut command);
        assert_eq!(*strange.lock().expect("a lock"), Vec::<String>::new(), "{}", own("sql"));
        // The lines below the message quote the statement, and depend on the length of the folder's name.
        let message = |text: &str| text.lines().next().map(str::to_owned);
        assert_eq!((ran.out, message(&ran.err)), (own("out"), message(&own("err"))), "{}", own("sql"));
        assert_eq!(i64::from(ran.code), record["code"].as_i64().unwrap_or(-1), "{}", own("sql"));
        assert!(left.lock().expect("a lock").is_empty(), "{} sends all recorded requests", own("sql"));
        statements += 1;
    }
    assert!(statements > 40);
}
