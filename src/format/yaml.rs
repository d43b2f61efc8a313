//! Writes YAML that parsers of YAML 1.1 (used by the Butler) and YAML 1.2 (used by this crate) read identically.

use serde_yaml::Value;

/// Formats a value as block-style YAML; mappings keep their order.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

/// Formats a string as a scalar: plain if every parser reads it as a string, otherwise quoted.
pub(crate) fn scalar(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if text.chars().any(needs_escape) {
        let escaped = |c: char| match c {
            '"' | '\\' => format!("\\{c}"),
            '\n' => "\\n".to_owned(),
            '\t' => "\\t".to_owned(),
            c if needs_escape(c) => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        };
        format!("\"{}\"", text.chars().map(escaped).collect::<String>())
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Returns true if a character can be written only as an escape sequence.
fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// Plain words that YAML 1.1 does not read as strings.
const WORDS: [&str; 9] = ["yes", "no", "on", "off", "true", "false", "null", ".inf", ".nan"];

/// Returns true if a string can be written without quotes: it begins like a name or path, contains no characters with a
/// meaning in YAML, and is not a special word or a number of YAML 1.1.
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let begins = match (chars.next(), chars.next()) {
        (Some('.' | '<'), Some(second)) => !second.is_ascii_digit() && second != '<',
        (Some(first), _) => first.is_ascii_alphabetic() || matches!(first, '_' | '/'),
        _ => false,
    };
    begins
        && text.chars().all(|c| c.is_alphanumeric() || " _/<>.:+-@=?&%,;()".contains(c))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !WORDS.contains(&text.to_lowercase().as_str())
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&margin);
                out.push_str(&flow(key));
                out.push(':');
                below(value, indent + 2, out);
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&margin);
                out.push('-');
                below(item, indent + 2, out);
            }
        }
        other => {
            out.push_str(&flow(other));
            out.push('\n');
        }
    }
}

/// Writes a value after its key or dash.
fn below(value: &Value, indent: usize, out: &mut String) {
    let nested =
        value.as_mapping().is_some_and(|m| !m.is_empty()) || value.as_sequence().is_some_and(|s| !s.is_empty());
    if nested {
        out.push('\n');
        block(value, indent, out);
    } else {
        out.push(' ');
        block(value, 0, out);
    }
}

/// Formats a value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => scalar(text),
        Value::Sequence(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Mapping(map) => {
            let items: Vec<_> = map.iter().map(|(k, v)| format!("{}: {}", flow(k), flow(v))).collect();
            format!("{{{}}}", items.join(", "))
        }
        Value::Tagged(tagged) => format!("{} {}", tagged.tag, flow(&tagged.value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_of_yaml_1_1_are_quoted() {
        for text in ["yes", "No", "on", "1_000", "12:30", "=", "<<", "", "2024-01-01", ".5", "a: b", "x:", "#x", "é #"]
        {
            assert!(scalar(text).starts_with('\''), "{text}");
        }
        for text in ["LSSTComCam/raw/all", "<butlerRoot>", "sqlite:///<butlerRoot>/gen3.sqlite3", "a b", "é"] {
            assert_eq!(scalar(text), if text == "é" { "'é'" } else { text });
        }
        assert_eq!((scalar("it's"), scalar("a\nb")), ("'it''s'".to_owned(), "\"a\\nb\"".to_owned()));
        assert_eq!(scalar("a\u{85}\"\\"), "\"a\\u0085\\\"\\\\\"");
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = "a: {b: [1, {c: 'yes', d: []}, [x, y]], e: {}}\n'12:30': 1.5\nf: null\ng: \"a\\tb\"\n";
        let value: Value = serde_yaml::from_str(text).unwrap();
        assert_eq!(serde_yaml::from_str::<Value>(&write(&value)).unwrap(), value);
    }
}
