//! The table of leap seconds: built in, or a newer one named by the environment variable `BUTLERSQL_LEAP_SECONDS`.

use std::sync::LazyLock;

use super::calendar::parse;
use crate::error::{Error, Result};

/// The environment variable with the path of a newer table in the IERS format (`leap-seconds.list`).
const VARIABLE: &str = "BUTLERSQL_LEAP_SECONDS";
/// Seconds from 1900-01-01, the epoch of that table, to 1970-01-01.
const FROM_1900: i64 = 2_208_988_800;
const SECOND: i64 = 1_000_000_000;

/// Pairs of a UTC time and TAI − UTC from that time on, in nanoseconds, in ascending order.
type Table = Vec<(i64, i64)>;

/// The table in use, and the error of the user's table, which [`check`] returns.
static TABLE: LazyLock<(Table, Option<Error>)> = LazyLock::new(|| match read() {
    Ok(table) => (table, None),
    Err(error) => (built_in(), Some(error)),
});

/// Returns TAI − UTC in nanoseconds at a UTC time (nanoseconds); `None` before 1972.
pub(crate) fn offset(utc: i64) -> Option<i64> {
    TABLE.0.iter().rev().find(|(from, _)| *from <= utc).map(|(_, offset)| *offset)
}

/// Refuses an invalid table of the user.
///
/// # Errors
/// A file that cannot be read or is not a valid table, with its line.
pub(crate) fn check() -> Result<()> {
    TABLE.1.as_ref().map_or(Ok(()), |error| Err(error.clone()))
}

fn read() -> Result<Table> {
    let Some(file) = std::env::var_os(VARIABLE).filter(|file| !file.is_empty()) else { return Ok(built_in()) };
    let named = |e: Error| e.context(format_args!("leap seconds '{}'", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|e| named(e.into()))?;
    parse_list(&text).map_err(named)
}

fn built_in() -> Table {
    let days = include_str!("leap_seconds.csv").lines().filter_map(|line| line.split_once(','));
    days.filter_map(|(day, seconds)| Some((parse(day)?, seconds.parse::<i64>().ok()? * SECOND))).collect()
}

/// Parses lines of NTP seconds and TAI − UTC in seconds; `#` starts a comment.
fn parse_list(text: &str) -> Result<Table> {
    let mut table: Table = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let numbers: Option<Vec<i64>> = words.iter().map(|word| word.parse().ok()).collect();
        let row = match numbers.as_deref() {
            Some([at, seconds]) => {
                at.checked_sub(FROM_1900).and_then(|at| at.checked_mul(SECOND)).zip(seconds.checked_mul(SECOND))
            }
            _ => None,
        };
        match row {
            Some(row) if table.last().is_none_or(|last| last.0 < row.0) => table.push(row),
            _ => {
                return Err(Error::invalid(format!("line {number}: expected two numbers, in ascending order")));
            }
        }
    }
    let known = built_in();
    if !table.starts_with(&known) {
        let message = format!("the table does not begin with the {} leap seconds known to this program", known.len());
        return Err(Error::invalid(message));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_iers_are_read() {
        let known = built_in();
        let mut text = "#$ 3960835200\n# comment\n".to_owned();
        for (at, seconds) in &known {
            text.push_str(&format!("{}  {} # 1 Jan\n", at / SECOND + FROM_1900, seconds / SECOND));
        }
        assert_eq!(parse_list(&text).unwrap(), known);
        assert_eq!(
            parse_list(&format!("{text}4070908800 38\n")).unwrap().last(),
            Some(&(1_861_920_000 * SECOND, 38 * SECOND))
        );
        for (bad, message) in [
            (format!("{text}x 38\n"), "line 31: expected two numbers"),
            (format!("{text}1 38\n"), "line 31"),
            ("2272060800 10\n".to_owned(), "does not begin with the 28 leap seconds"),
        ] {
            assert!(
                parse_list(&bad).unwrap_err().message().contains(message),
                "{bad}: {}",
                parse_list(&bad).unwrap_err()
            );
        }
    }
}
