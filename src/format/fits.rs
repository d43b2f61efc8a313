//! Writes FITS headers and binary tables with heaps (FITS standard 4.0).

use serde_json::Value;

pub(super) const BLOCK: usize = 2880;
pub(super) const CARD: usize = 80;
/// The maximum length of a string on one card; longer strings continue on CONTINUE cards.
const TEXT: usize = 67;

/// The cards of one header.
#[derive(Debug, Default)]
pub(crate) struct Header(String);

/// A column of a binary table.
#[derive(Debug)]
pub(crate) struct Column<'a> {
    /// The name of the column (`TTYPE`).
    pub name: &'a str,
    /// The format of the cells (`TFORM`).
    pub form: String,
    /// Other keywords, without the column number (`TDIM`, `TUNIT`), with their values.
    pub more: Vec<(&'static str, Value)>,
}

impl Header {
    /// Creates a primary header without data.
    pub(crate) fn primary(bitpix: i64, extend: bool) -> Self {
        let mut header = Self::default();
        header.card("SIMPLE", &true.into()).card("BITPIX", &bitpix.into()).card("NAXIS", &0.into());
        if extend {
            header.card("EXTEND", &true.into());
        }
        header
    }

    /// Creates the header of a binary table.
    pub(crate) fn table(columns: &[Column<'_>], row_bytes: usize, rows: usize, heap_bytes: usize) -> Self {
        let mut header = Self::default();
        header.card("XTENSION", &"BINTABLE".into()).card("BITPIX", &8.into()).card("NAXIS", &2.into());
        header.card("NAXIS1", &row_bytes.into()).card("NAXIS2", &rows.into());
        header.card("PCOUNT", &heap_bytes.into()).card("GCOUNT", &1.into()).card("TFIELDS", &columns.len().into());
        for (number, column) in (1..).zip(columns) {
            let form = Value::from(column.form.as_str());
            header.card(&format!("TTYPE{number}"), &column.name.into()).card(&format!("TFORM{number}"), &form);
            for (keyword, value) in &column.more {
                header.card(&format!("{keyword}{number}"), value);
            }
        }
        header
    }

    /// Adds a card; values other than booleans, numbers and strings are ignored. Keys that are long or contain blanks
    /// become HIERARCH cards; long strings continue on CONTINUE cards.
    pub(crate) fn card(&mut self, key: &str, value: &Value) -> &mut Self {
        let hierarch = key.len() > 8 || key.contains(' ');
        let name = if hierarch { format!("HIERARCH {key} ") } else { format!("{key:<8}") };
        match value {
            Value::Bool(yes) => self.push(&format!("{name}= {:>20}", if *yes { "T" } else { "F" })),
            Value::Number(n) => self.push(&format!("{name}= {:>20}", n.to_string().to_uppercase())),
            Value::String(text) => self.text(&name, text),
            _ => {}
        }
        self
    }

    fn text(&mut self, name: &str, text: &str) {
        let whole = format!("{name}= {:<20}", format!("'{:<8}'", text.replace('\'', "''")));
        if whole.len() <= CARD {
            return self.push(&whole);
        }
        let (mut start, mut rest) = (format!("{name}= "), text);
        while !rest.is_empty() {
            let mut room = CARD.saturating_sub(start.len() + 3).min(TEXT);
            let cut = rest.char_indices().find(|(_, c)| {
                let needs = if *c == '\'' { 2 } else { c.len_utf8() };
                let full = room < needs;
                room = room.saturating_sub(needs);
                full
            });
            let (part, after) = rest.split_at(cut.map_or(rest.len(), |(at, _)| at));
            let more = if after.is_empty() { "" } else { "&" };
            self.push(&format!("{start}'{}{more}'", part.replace('\'', "''")));
            (start, rest) = ("CONTINUE  ".to_owned(), after);
        }
    }

    fn push(&mut self, card: &str) {
        // FITS headers contain printable ASCII only.
        let card: String = card.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
        self.0.push_str(&format!("{card:<CARD$.CARD$}"));
    }

    /// Returns the header and its data, both padded to a multiple of 2880 bytes.
    pub(crate) fn with(mut self, data: &[u8]) -> Vec<u8> {
        self.push("END");
        let length = self.0.len().next_multiple_of(BLOCK);
        let mut bytes = format!("{:<length$}", self.0).into_bytes();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }
}

/// Returns a FITS file that consists of a primary header with these keys.
pub(crate) fn header_only<'a>(keys: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Vec<u8> {
    let mut header = Header::primary(8, false);
    for (key, value) in keys {
        header.card(key, value);
    }
    header.with(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_whole_blocks_of_cards() {
        let keys: serde_json::Map<String, Value> =
            serde_json::from_str(r#"{"OBSID": "CC_1", "SEQNUM": 3, "SIMULATE MTMOUNT": 0}"#).unwrap();
        let bytes = header_only(&keys);
        assert_eq!(bytes.len(), BLOCK);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(&text[3 * CARD..3 * CARD + 20], "OBSID   = 'CC_1    '");
        assert!(text[5 * CARD..].starts_with("HIERARCH SIMULATE MTMOUNT = "));
        assert!(text[6 * CARD..].starts_with("END     "));
    }

    #[test]
    fn long_texts_go_on_on_the_next_card() {
        let mut header = Header::default();
        header.card("KEY", &format!("{}'{}", "a".repeat(66), "b".repeat(80)).into());
        let cards: Vec<_> = header.0.as_bytes().chunks(CARD).map(|c| std::str::from_utf8(c).unwrap()).collect();
        assert_eq!(cards.len(), 3);
        assert_eq!(cards[0], format!("KEY     = '{}&' ", "a".repeat(66)));
        assert_eq!(cards[1], format!("CONTINUE  '''{}&'", "b".repeat(65)));
        assert!(cards[2].starts_with(&format!("CONTINUE  '{}'  ", "b".repeat(15))));
    }
}
