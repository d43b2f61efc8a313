//! What goes wrong on the way to a door: each fault once and for ever, for each kind of work. The outcomes are kept in
//! `tests/webdav-faults.md`; `UPDATE=1` writes it anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use butlersql::internal::webdav::{Body, Client};
use butlersql::{Error, Kind, Result};
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use crate::world::{dav, fresh};

/// Requests of this kind of work that are disturbed: its name and the method.
const WORK: [(&str, &str); 6] = [
    ("read", "GET"),
    ("list", "PROPFIND"),
    ("write", "PUT"),
    ("write", "MOVE"),
    ("move", "MOVE"),
    ("delete", "DELETE"),
];

/// Faults for every method.
fn general() -> Vec<Value> {
    vec![
        json!({"action": "status", "status": 403}),
        json!({"action": "status", "status": 408}),
        json!({"action": "status", "status": 423}),
        json!({"action": "status", "status": 429, "retry_after": 1}),
        json!({"action": "status", "status": 500}),
        json!({"action": "status", "status": 503, "retry_after": 1}),
        json!({"action": "status", "status": 507}),
        json!({"action": "delay", "seconds": 0.5}),
        json!({"action": "stall", "seconds": 3}),
        json!({"action": "reset"}),
        json!({"action": "redirect_loop"}),
        json!({"action": "redirect", "status": 307, "location": ""}),
        json!({"action": "drop_idle"}),
    ]
}

/// Faults that only some methods can meet.
fn special(method: &str) -> Vec<Value> {
    let pool = |mut rule: Value| {
        rule["where"] = "pool".into();
        rule
    };
    match method {
        "GET" => vec![
            pool(json!({"action": "status", "status": 400})),
            pool(json!({"action": "status", "status": 500})),
            pool(json!({"action": "reset", "at": 1000})),
            pool(json!({"action": "truncate", "at": 1000})),
            pool(json!({"action": "slow", "chunk": 20000, "delay": 0.1})),
            pool(json!({"action": "slow_headers", "delay": 0.001})),
            pool(json!({"action": "corrupt"})),
            pool(json!({"action": "digest", "value": "adler32=00000001"})),
            pool(json!({"action": "html"})),
            pool(json!({"action": "pingpong"})),
        ],
        "PROPFIND" => vec![
            json!({"action": "cut_chunked", "at": 500}),
            json!({"action": "bad_xml"}),
            json!({"action": "html"}),
            json!({"action": "empty_listing"}),
            json!({"action": "slow_headers", "delay": 0.001}),
        ],
        "PUT" => vec![
            pool(json!({"action": "status", "status": 500})),
            pool(json!({"action": "status", "status": 507})),
            pool(json!({"action": "reset"})),
            pool(json!({"action": "lost"})),
            pool(json!({"action": "corrupt"})),
            pool(json!({"action": "digest", "value": "adler32=00000001"})),
        ],
        _ => vec![json!({"action": "lost"})],
    }
}

/// A fault as a line of the table names it.
fn name(rule: &Value) -> String {
    let place = rule.get("where").and_then(Value::as_str).unwrap_or("door");
    let more: Vec<String> = ["status", "at"].iter().filter_map(|key| Some(rule.get(key)?.to_string())).collect();
    format!("{} {} at the {place}", rule["action"].as_str().unwrap_or_default(), more.join(" ")).replace("  ", " ")
}

/// A file that a pool sends in several parts.
fn content() -> Vec<u8> {
    (0..100_000_u32).map(|i| (i % 253) as u8).collect()
}

/// What a door hides always, nobody can see.
const SEEN_EMPTY: &str = "is empty";

struct Door {
    client: Arc<Client>,
    control: String,
    folder: String,
}

impl Door {
    /// The answer of the door's control port, head and body.
    async fn control(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(&self.control).await.expect("the door's control");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    async fn rules(&self, rules: &Value) {
        let message = self.control("PUT", "/rules", &rules.to_string()).await;
        assert!(message.starts_with("HTTP/1.1 200"), "{message}");
    }

    /// Does some work; the bytes and names are checked where it succeeds.
    async fn work(&self, work: &str) -> Result<()> {
        let (file, other) = (format!("{}/a.bin", self.folder), format!("{}/b.bin", self.folder));
        match work {
            "read" => assert_eq!(self.client.read(&file, u64::MAX).await?, content(), "other bytes were read"),
            "list" => {
                let found = self.client.list(&self.folder).await?;
                if found.is_empty() {
                    return Err(Error::new(Kind::NotFound, format!("{} {SEEN_EMPTY}", self.client.uri(&self.folder))));
                }
                let found: Vec<_> = found.iter().map(|e| (e.path.as_str(), e.size)).collect();
                assert_eq!(found, [(&*file, Some(100_000))]);
            }
            "write" => self.client.write(&other, Body::Bytes(content().into()), false).await?,
            "move" => self.client.rename(&file, &other, false).await?,
            _ => self.client.remove(&file).await?,
        }
        Ok(())
    }

    /// The names in the folder, each with the right bytes.
    async fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for entry in self.client.list(&self.folder).await.expect("a list") {
            assert_eq!(self.client.read(&entry.path, u64::MAX).await.expect("its bytes"), content(), "{}", entry.path);
            names.push(entry.path.rsplit('/').next().unwrap_or_default().to_owned());
        }
        names.sort();
        names
    }
}

#[apply(test!)]
async fn no_fault_loses_a_file() {
    let Some(uri) = dav("DOOR") else { return };
    let control = std::env::var("BUTLERSQL_TEST_DAV_CONTROL").expect("the door's control");
    let client = Client::of(&Url::parse(&uri).expect("a URL")).expect("a client");
    let control = control.trim_start_matches("http://").to_owned();
    let mut door = Door { client, control, folder: String::new() };
    let mut table = String::from(
        "# Faults of a door, and what comes of them\n\nMade by the test `faults`.\n\n| work | request | fault | once | for ever |\n|---|---|---|---|---|\n",
    );
    for (work, method) in WORK {
        for fault in general().into_iter().chain(special(method)) {
            let mut outcomes = Vec::new();
            for times in [1, -1] {
                door.folder = format!("/{}", fresh("fault"));
                let file = format!("{}/a.bin", door.folder);
                door.client.write(&file, Body::Bytes(content().into()), false).await.expect("a file to begin with");
                let mut rule = fault.clone();
                rule["method"] = method.into();
                rule["times"] = times.into();
                rule["path"] = format!("^{}", door.folder).into();
                if rule.get("where").is_none() {
                    rule["where"] = "door".into();
                }
                door.rules(&json!([rule])).await;
                let begin = Instant::now();
                let done = door.work(work).await;
                let taken = begin.elapsed();
                door.rules(&json!([])).await;
                let case = format!("{work} {method} {} times {times}", name(&fault));
                assert!(taken < Duration::from_secs(60), "{case}: {taken:?}");
                let expected: &[&str] = match (work, &done) {
                    ("read" | "list", _) | ("write" | "move" | "delete", Err(_)) => &["a.bin"],
                    ("write", Ok(())) => &["a.bin", "b.bin"],
                    ("move", Ok(())) => &["b.bin"],
                    _ => &[],
                };
                assert_eq!(door.names().await, expected, "{case}: {done:?}");
                outcomes.push(match done {
                    Ok(()) => "done".to_owned(),
                    Err(error) if error.message().ends_with(SEEN_EMPTY) => "seen empty".to_owned(),
                    Err(error) => {
                        assert!(error.message().contains(&uri) && error.kind() != Kind::Bug, "{case}: {error}");
                        format!("{:?}", error.kind())
                    }
                });
            }
            table.push_str(&format!("| {work} | {method} | {} | {} | {} |\n", name(&fault), outcomes[0], outcomes[1]));
        }
    }
    let stats = door.control("GET", "/stats", "").await;
    let stats: Value = serde_json::from_str(&stats[stats.find('{').expect("JSON")..]).expect("JSON");
    for never in ["credentials seen by pool", "propfind depth infinity"] {
        assert!(stats.get(never).is_none_or(|n| n == 0), "{never}: {stats}");
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webdav-faults.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &table).expect("written");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), table);
}
