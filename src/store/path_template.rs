//! File name templates of a datastore, rendered as the Butler renders them.

use percent_encoding::percent_decode_str;

use crate::error::{Error, Kind, Result};

/// The Butler's template for raws, selected by their dimensions.
pub(crate) const RAW: &str = "{run:/}/{datasetType}.{component:?}/{day_obs|exposure.day_obs}/{exposure.obs_id}/\
    {datasetType}_{component:?}_{instrument:?}_{physical_filter}_{exposure.obs_id}_{detector.full_name}_{run}";

/// The Butler's template for all other datasets.
pub(crate) const DEFAULT: &str = "{run:/}/{datasetType}.{component:?}/{tract:?}/{patch:?}/\
    {day_obs|visit.day_obs|exposure.day_obs:?}/{band:?}/{subfilter:?}/{physical_filter:?}/{visit:?}/\
    {exposure.obs_id|group:?}/{datasetType}_{component:?}_{instrument:?}_{tract:?}_{patch:?}_{band:?}_\
    {physical_filter:?}_{visit:?}_{exposure.obs_id|group:?}_{detector.full_name:?}_{skymap:?}_{skypix:?}_{run}";

/// Renders a template; `value` returns the text of a field such as `run`, `visit` or `exposure.obs_id`.
///
/// # Errors
/// As for [`expand`]; a path that the Butler cannot find.
pub(crate) fn render(template: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let path = normal(&unescaped(&expand(template, value)?)?);
    if path.split('/').any(|part| part == "..") {
        return Err(Error::invalid(format!("the file would lie outside the datastore: '{path}'")));
    }
    Ok(path)
}

/// Replaces the fields of a template by their values; spaces become underscores.
///
/// In a field, `a|b` is the first name with a value, `?` makes the field optional, and `/` keeps the slashes of the
/// value. A missing optional field also removes the literal text before it, unless that contains a `/`.
///
/// # Errors
/// A required field without a value, a malformed or unsupported template.
pub(crate) fn expand(template: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let (field, after) = after
            .split_once('}')
            .ok_or_else(|| Error::invalid(format!("template '{template}' has an unclosed '{{'")))?;
        rest = after;
        let (names, format) = field.split_once(':').unwrap_or((field, ""));
        match names.split('|').find_map(value) {
            Some(text) => {
                let text = shaped(template, &text, format)?.replace(' ', "_");
                out.push_str(literal);
                out.push_str(&if format.contains('/') { text } else { text.replace('/', "_") });
            }
            None if format.contains('?') => {
                out.push_str(if literal.contains('/') { literal } else { "" });
            }
            None => {
                let message = format!("template '{template}' needs '{names}', which the dataset does not have");
                return Err(Error::invalid(message));
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Rejects templates that the Butler refuses, because two datasets could get the same file name.
///
/// # Errors
/// An error that names the problem.
pub(crate) fn check(template: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::invalid(format!("file template '{template}' {why}, so the Butler refuses it")));
    let (fields, special) = (fields(template), ["run", "id", "datasetType", "component"]);
    if fields.contains(&"collection") {
        return refuse("names 'collection' instead of 'run'");
    }
    if !fields.contains(&"run") && !fields.contains(&"id") {
        return refuse("has neither {run} nor {id}");
    }
    if !fields.contains(&"id") && fields.iter().all(|field| special.contains(field)) {
        return refuse("names no dimension");
    }
    if template.contains("../") {
        return refuse("leads out of the datastore");
    }
    if fields.contains(&"id") && !template.rsplit('/').next().is_some_and(|name| name.contains("{id}")) {
        return refuse("has {id} outside the file name");
    }
    Ok(())
}

/// Decodes a rendered path as the Butler does, which treats it as a URI: `%20` is a space. Rejects paths that the
/// Butler would not find, or would find only in the same environment.
fn unescaped(path: &str) -> Result<String> {
    const ESCAPED: &str = "it decodes '%' and two hexadecimal digits to a character";
    let refuse = |why: &str| {
        let path = normal(path);
        let message = format!("the Butler does not find files at '{path}': {why}; give the run another name");
        Err(Error::new(Kind::Unsupported, message))
    };
    if path.starts_with('~') {
        return refuse("it reads '~' as a home directory");
    }
    if path.split('$').skip(1).any(|rest| rest.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphanumeric()))
    {
        return refuse("it reads '$' as an environment variable");
    }
    if !is_escaped(path) {
        // The Butler decodes `%2e` to a dot, but does not encode a dot.
        return if is_escaped(&path.to_uppercase()) { refuse(ESCAPED) } else { Ok(path.to_owned()) };
    }
    let plain = percent_decode_str(path).decode_utf8_lossy();
    if path.contains(['#', '?'])
        || is_escaped(&plain.to_uppercase())
        || plain.starts_with(['/', '~'])
        || plain.contains(['$', '\0'])
    {
        return refuse(ESCAPED);
    }
    Ok(plain.into_owned())
}

/// Returns true if a path contains what the Butler reads as an escaped character.
fn is_escaped(path: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    path.split('%').skip(1).any(|rest| is_digit(rest.as_bytes().first()) && is_digit(rest.as_bytes().get(1)))
}

/// Returns the field names of a template.
pub(crate) fn fields(template: &str) -> Vec<&str> {
    let inside = template.split('{').skip(1).filter_map(|part| part.split('}').next());
    inside.filter_map(|field| field.split(':').next()).flat_map(|names| names.split('|')).collect()
}

/// Formats a value by a format specification such as `06d`, which pads a number with zeros.
fn shaped(template: &str, text: &str, format: &str) -> Result<String> {
    let spec = format.replace(['?', '/'], "");
    if spec.is_empty() || spec == "s" || spec == "d" {
        return Ok(text.to_owned());
    }
    let width = spec.trim_end_matches('d');
    match (width.parse::<usize>(), text.parse::<i64>()) {
        (Ok(0..100), Ok(number)) if width.starts_with('0') => {
            let width = width.parse().unwrap_or(0);
            Ok(format!("{number:0width$}"))
        }
        _ => {
            let message =
                format!("template '{template}' formats '{text}' by '{spec}', which butlersql does not support");
            Err(Error::new(Kind::Unsupported, message))
        }
    }
}

/// Removes empty parts of a path and replaces dots and hashes in its last part, as the Butler does.
fn normal(path: &str) -> String {
    let mut parts: Vec<String> = path.split('/').filter(|p| !p.is_empty() && *p != ".").map(str::to_owned).collect();
    if let Some(last) = parts.last_mut() {
        *last = last.replace('.', "_").replace('#', "HASH");
    }
    parts.join("/")
}

/// Returns the extension of a file name; both parts of `.fits.fz` and similar.
pub(crate) fn extension(name: &str) -> &str {
    let require_size = |suffix: &str| name.len() > suffix.len() && name.ends_with(suffix);
    if let Some(both) = [".fits.fz", ".fits.gz", ".fit.fz", ".fit.gz"].into_iter().find(|s| require_size(s)) {
        return &name[name.len() - both.len()..];
    }
    name.rfind('.').filter(|dot| *dot > 0).map_or("", |dot| &name[dot..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, values: &[(&str, &str)]) -> String {
        let value = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        render(template, &value).unwrap()
    }

    #[test]
    fn paths_equal_the_butlers() {
        let raw = [
            ("run", "LSSTComCam/raw/all"),
            ("datasetType", "raw"),
            ("day_obs", "20241026"),
            ("exposure.obs_id", "CC_O_20241026_000020"),
            ("instrument", "LSSTComCam"),
            ("physical_filter", "r_03"),
            ("detector.full_name", "R22_S21"),
        ];
        assert_eq!(
            filled(RAW, &raw),
            "LSSTComCam/raw/all/raw/20241026/CC_O_20241026_000020/\
             raw_LSSTComCam_r_03_CC_O_20241026_000020_R22_S21_LSSTComCam_raw_all"
        );
        let flat = [
            ("run", "r/1"),
            ("datasetType", "crosstalk"),
            ("instrument", "LSSTComCam"),
            ("detector.full_name", "R22_S11"),
        ];
        assert_eq!(filled(DEFAULT, &flat), "r/1/crosstalk/crosstalk_LSSTComCam_R22_S11_r_1");
        assert_eq!(filled("{run}/{detector:03d}", &[("run", "r"), ("detector", "7")]), "r/007");
        assert!(render("{run:>9}", &|_| Some("r".to_owned())).unwrap_err().message().contains("'>9'"));
        assert!(render(RAW, &|_| None).unwrap_err().message().contains("'run'"));
    }

    #[test]
    fn paths_are_those_that_the_butler_finds() {
        let filled = |run: &str| {
            render("{run:/}/x_{detector}", &|name| match name {
                "run" => Some(run.to_owned()),
                _ => Some("1".to_owned()),
            })
        };
        for (run, path) in [("a%20b", "a b/x_1"), ("a%b", "a%b/x_1"), ("a#b", "a#b/x_1")] {
            assert_eq!(filled(run).unwrap(), path);
        }
        for run in ["~/x", "a$HOME", "${x}", "a%2520b", "a%20#b", "a%2eb", "%2E%2E/b", "%7Ex", "%2Fetc"] {
            assert!(filled(run).is_err(), "{run}");
        }
        assert!(filled("a$/b~").is_ok());
    }

    #[test]
    fn templates_that_the_butler_refuses_are_refused() {
        for template in ["{datasetType}/x_{detector}", "{run:/}/{datasetType}", "{run}/../{detector}", "{id}/x"] {
            assert!(check(template).is_err(), "{template}");
        }
        for template in [RAW, DEFAULT, "{datasetType}/{id}", "{run}/{visit|exposure:?}"] {
            check(template).unwrap();
        }
    }

    #[test]
    fn extensions_keep_both_parts() {
        assert_eq!([extension("a.fits"), extension("a.b.fits.fz"), extension("x")], [".fits", ".fits.fz", ""]);
    }
}
