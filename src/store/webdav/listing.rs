//! A streaming parser for PROPFIND responses (RFC 4918, section 9.1).

use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use quick_xml::NsReader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};
use tokio::io::{AsyncBufRead, AsyncReadExt};

use crate::store::entry::Entry;

/// Maximum number of bytes of a response; about 2 million entries.
const LIMIT: u64 = 1 << 30;
/// Maximum number of bytes of a value.
const NAME: usize = 64 << 10;

const DAV: &str = "DAV:";
const DCACHE: &str = "http://www.dcache.org/2013/webdav";

/// The request body for the needed properties. dCache looks up each property separately, so not all are requested.
pub(super) const PROPERTIES: &str = r#"<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/><D:getlastmodified/></D:prop></D:propfind>"#;

/// [`PROPERTIES`] with the dCache checksums.
pub(super) const CHECKSUMS: &str = r#"<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/><D:getlastmodified/><C:Checksums xmlns:C="http://www.dcache.org/2013/webdav"/></D:prop></D:propfind>"#;

/// The properties of one `propstat` element, which are valid only if its status is 200.
#[derive(Default)]
struct Properties {
    is_directory: bool,
    size: Option<u64>,
    modified: Option<DateTime<Utc>>,
    checksums: Option<String>,
    status: Option<String>,
}

/// Parses all entries of a response, in their order.
///
/// # Errors
/// A message when the response is not a complete WebDAV multistatus document.
pub(super) async fn parse(source: impl AsyncBufRead + Unpin) -> Result<Vec<Entry>, String> {
    let mut reader = NsReader::from_reader(tokio::io::BufReader::new(source.take(LIMIT)));
    let (mut entries, mut entry, mut properties) = (Vec::new(), None::<Entry>, Properties::default());
    let (mut buffer, mut text, mut depth, mut seen) = (Vec::new(), String::new(), 0_usize, false);
    loop {
        buffer.clear();
        let (namespace, event) =
            reader.read_resolved_event_into_async(&mut buffer).await.map_err(|e| format!("it is not XML: {e}"))?;
        let space = |wanted: &str| matches!(namespace, ResolveResult::Bound(Namespace(bound)) if bound == wanted);
        match event {
            Event::Start(start) => {
                depth += 1;
                text.clear();
                match start.local_name().as_ref() {
                    "multistatus" if depth == 1 && space(DAV) => seen = true,
                    _ if depth == 1 => return Err("it is not a WebDAV multistatus".to_owned()),
                    "response" if space(DAV) => entry = Some(Entry::default()),
                    "propstat" if space(DAV) => properties = Properties::default(),
                    "collection" if space(DAV) => properties.is_directory = true,
                    _ => {}
                }
            }
            Event::Empty(start) if start.local_name().as_ref() == "collection" && space(DAV) => {
                properties.is_directory = true;
            }
            Event::Empty(start) if depth == 0 && start.local_name().as_ref() == "multistatus" => {
                return if space(DAV) { Ok(entries) } else { Err("it is not a WebDAV multistatus".to_owned()) };
            }
            Event::Text(part) => {
                if text.len() + part.len() > NAME {
                    return Err("a value in it is too long".to_owned());
                }
                text.push_str(&part);
            }
            Event::CData(part) => text.push_str(&part),
            Event::GeneralRef(name) => match name.resolve_char_ref().map_err(|e| format!("it is not XML: {e}"))? {
                Some(character) => text.push(character),
                None => {
                    let known = resolve_predefined_entity(&name);
                    text.push_str(known.ok_or_else(|| format!("it uses the unknown entity '{}'", &*name))?);
                }
            },
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                let value = text.trim();
                match end.local_name().as_ref() {
                    "href" if space(DAV) => {
                        // Properties of a response may contain further hrefs after its own.
                        if let Some(entry) = entry.as_mut().filter(|entry| entry.path.is_empty()) {
                            entry.path = path(value);
                        }
                    }
                    "getcontentlength" if space(DAV) => properties.size = value.parse().ok(),
                    "getlastmodified" if space(DAV) => {
                        properties.modified = DateTime::parse_from_rfc2822(value).ok().map(|time| time.to_utc());
                    }
                    "Checksums" if space(DCACHE) => {
                        properties.checksums = Some(value.to_owned()).filter(|value| !value.is_empty());
                    }
                    "status" if space(DAV) => properties.status = Some(value.to_owned()),
                    "propstat" if space(DAV) => {
                        let properties = std::mem::take(&mut properties);
                        if let Some(entry) = &mut entry {
                            properties.add_to(entry);
                        }
                    }
                    "response" if space(DAV) => entries.extend(entry.take().filter(|entry| !entry.path.is_empty())),
                    "multistatus" if depth == 0 => return Ok(entries),
                    _ => {}
                }
                text.clear();
            }
            Event::Eof if seen => return Err("it is incomplete".to_owned()),
            Event::Eof => return Err("it is empty".to_owned()),
            _ => {}
        }
    }
}

impl Properties {
    fn add_to(self, entry: &mut Entry) {
        if self.status.is_some_and(|status| status.split_whitespace().nth(1) != Some("200")) {
            return;
        }
        entry.is_directory |= self.is_directory;
        entry.size = entry.size.or(self.size);
        entry.modified = entry.modified.or(self.modified);
        entry.checksums = entry.checksums.take().or(self.checksums);
    }
}

/// Returns the decoded path of a href, which may be a complete URL.
fn path(href: &str) -> String {
    let href = match href.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => href,
    };
    let decoded = percent_decode_str(href).decode_utf8_lossy();
    let parts: Vec<&str> = decoded.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parsed(text: &str) -> Result<Vec<Entry>, String> {
        parse(text.as_bytes()).await
    }

    const ANSWER: &str = r#"<?xml version="1.0" encoding="utf-8" ?>
<d:multistatus xmlns:d="DAV:" xmlns:c="http://www.dcache.org/2013/webdav">
 <d:response><d:href>https://door:2880/pnfs/a%20b/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype>
  </d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat><d:propstat><d:prop><d:getcontentlength/></d:prop>
  <d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>
 <d:response><d:href>/pnfs/a%20b/x%2by&amp;z</d:href><d:propstat><d:prop><d:getcontentlength>12</d:getcontentlength>
  <d:getlastmodified>Fri, 15 Nov 2024 12:00:00 GMT</d:getlastmodified><d:resourcetype></d:resourcetype>
  <c:Checksums>adler32=0011aabb</c:Checksums></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>
 <d:response><d:href>/pnfs/a%20b/new</d:href><d:propstat><d:prop><d:getcontentlength>7</d:getcontentlength></d:prop>
  <d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>
</d:multistatus>"#;

    #[tokio::test]
    async fn properties_that_were_found_count() {
        let entries = parsed(ANSWER).await.unwrap();
        let modified = DateTime::parse_from_rfc3339("2024-11-15T12:00:00Z").unwrap().to_utc();
        assert_eq!(
            entries,
            [
                Entry { path: "/pnfs/a b".to_owned(), is_directory: true, ..Entry::default() },
                Entry {
                    path: "/pnfs/a b/x+y&z".to_owned(),
                    size: Some(12),
                    modified: Some(modified),
                    checksums: Some("adler32=0011aabb".to_owned()),
                    ..Entry::default()
                },
                Entry { path: "/pnfs/a b/new".to_owned(), ..Entry::default() },
            ]
        );
    }

    #[tokio::test]
    async fn incomplete_answers_are_errors() {
        for at in [0, 40, 200, 700, ANSWER.len() - 20] {
            assert!(parsed(&ANSWER[..at]).await.is_err(), "{at}");
        }
        assert!(parsed("<html><body>Log in</body></html>").await.unwrap_err().contains("not a WebDAV multistatus"));
        assert!(parsed(r#"<multistatus xmlns="DAV:">&boo;</multistatus>"#).await.unwrap_err().contains("'boo'"));
        assert_eq!(parsed(r#"<multistatus xmlns="DAV:"/>"#).await, Ok(Vec::new()));
    }
}
