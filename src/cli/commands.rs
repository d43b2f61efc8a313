//! Shell commands such as `\d`, `\i` and `\timing`. [`COMMANDS`] is the list of all of them.

use super::Failure;
use super::runner::Runner;
use crate::error::{Error, hint};

/// Whether the shell or script continues after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlFlow {
    /// Read the next statement or command.
    Continue,
    /// End the shell or the script.
    Quit,
}

/// The commands: name, arguments, description.
pub(super) const COMMANDS: [(&str, &str, &str); 12] = [
    ("\\d", "[TABLE]", "list tables, or the columns of one"),
    ("\\dt", "[PATTERN]", "list tables; in a pattern, * matches any characters and ? matches one"),
    ("\\df", "[PATTERN]", "list functions, or show the arguments of one"),
    ("\\echo", "TEXT", "print a text"),
    ("\\i", "FILE", "run a script"),
    ("\\set", "[NAME VALUE]", "set a script variable, or list them"),
    ("\\timing", "[on|off]", "show the time each statement takes"),
    ("\\x", "[on|off]", "show each row as a block of lines"),
    ("\\write", "[on|off]", "allow statements to change the repository"),
    ("\\functions", "", "same as \\df"),
    ("\\?", "", "show this list"),
    ("\\q", "", "quit"),
];

/// Runs a command line such as `\i file`.
///
/// # Errors
/// An unknown command, with the most similar one; a wrong argument; or the failure of the script or query it runs.
pub(super) async fn run(runner: &mut Runner, line: &str) -> Result<ControlFlow, Failure> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match name {
        "\\q" => return Ok(ControlFlow::Quit),
        "\\?" => {
            for (name, arguments, says) in COMMANDS {
                println!("{:<22} {says}", format!("{name} {arguments}"));
            }
        }
        "\\echo" => println!("{rest}"),
        "\\i" => runner.include(rest.trim_matches('\'')).await?,
        "\\timing" => {
            runner.timing = switch(rest, runner.timing)?;
            eprintln!("timing is {}", word(runner.timing));
        }
        "\\x" => {
            runner.output.expanded = switch(rest, runner.output.expanded)?;
            eprintln!("rows as blocks of lines: {}", word(runner.output.expanded));
        }
        "\\write" => {
            let access = runner.session.handle();
            access.set_write(switch(rest, access.is_writable())?).await;
        }
        "\\set" if rest.is_empty() => runner.variables.iter().for_each(|(name, value)| println!("{name} = {value}")),
        "\\set" => {
            let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            runner.variables.insert(name.to_owned(), value.trim().trim_matches('\'').to_owned());
        }
        "\\d" if !rest.is_empty() => Box::pin(runner.query(&format!("DESCRIBE {rest}"))).await?,
        "\\d" | "\\dt" => {
            let sql = format!(
                "SELECT table_schema AS schema, table_name AS name FROM information_schema.tables \
                 WHERE table_schema = 'public' AND table_name ILIKE {} ORDER BY name",
                like(rest)
            );
            Box::pin(runner.query(&sql)).await?;
        }
        "\\df" | "\\functions" if rest.is_empty() || rest.contains(['*', '?']) => {
            let sql = "SELECT name, arguments, description FROM functions WHERE name ILIKE";
            Box::pin(runner.query(&format!("{sql} {} ORDER BY name", like(rest)))).await?;
        }
        "\\df" | "\\functions" => describe(rest)?,
        other => {
            let near = hint(other, COMMANDS.map(|c| c.0));
            return Err(Error::invalid(format!("no command named '{other}'{near}")).into());
        }
    }
    Ok(ControlFlow::Continue)
}

/// Converts a pattern with `*` and `?` to an ILIKE literal; an empty pattern matches all names.
fn like(pattern: &str) -> String {
    let pattern = if pattern.is_empty() { "*" } else { pattern };
    let like = pattern.replace('\'', "''").replace('%', "\\%").replace('_', "\\_").replace('*', "%").replace('?', "_");
    format!("'{like}'")
}

/// Prints the signature, the arguments and an example of a function.
fn describe(name: &str) -> Result<(), Error> {
    let all = crate::engine::functions::all();
    let found = all.iter().find(|f| f.name == name);
    let function = found.ok_or_else(|| Error::not_found("function", name, all.iter().map(|f| f.name)))?;
    println!("{}\n  {}", function.signature(), function.description);
    for argument in &function.arguments {
        println!("  {:<18} {:<13} {}", argument.name, argument.arg_type.name(), argument.description);
    }
    println!("  example: {}", function.example);
    Ok(())
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn switch(word: &str, now: bool) -> Result<bool, Error> {
    match word {
        "" => Ok(!now),
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(Error::invalid(format!("'{other}' is neither on nor off"))),
    }
}
