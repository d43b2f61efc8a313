//! FITS primary headers without data, as sample raws need them.

use serde_json::Value;

const BLOCK: usize = 2880;
const CARD: usize = 80;

/// A header-only FITS file holding these keys; long or blank-holding keys become HIERARCH cards.
pub fn header_only<'a>(keys: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Vec<u8> {
    let mut text = String::new();
    for fixed in ["SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0"]
    {
        push(&mut text, fixed);
    }
    for (key, value) in keys {
        if let Some(value) = card_value(value) {
            let hierarch = key.len() > 8 || key.contains(' ');
            let name = if hierarch { format!("HIERARCH {key} ") } else { format!("{key:<8}") };
            push(&mut text, &format!("{name}= {value:>20}"));
        }
    }
    push(&mut text, "END");
    let length = text.len().div_ceil(BLOCK) * BLOCK;
    format!("{text:<length$}").into_bytes()
}

fn push(text: &mut String, card: &str) {
    text.push_str(&format!("{card:<CARD$.CARD$}"));
}

fn card_value(value: &Value) -> Option<String> {
    match value {
        Value::Bool(yes) => Some(if *yes { "T" } else { "F" }.to_owned()),
        Value::Number(n) => Some(n.to_string().to_uppercase()),
        Value::String(s) => Some(format!("{:<20}", format!("'{:<8}'", s.replace('\'', "''")))),
        _ => None,
    }
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
}
