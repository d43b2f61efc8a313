//! The terminal: arguments, scripts, the shell, output formats and errors. Only this room prints.

mod commands;
mod complete;
mod demo;
mod error_view;
mod interrupt;
mod output;
mod progress;
mod runner;
mod sample;
mod script;
mod shell;
mod table;
mod visible;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::output::Format;
use self::runner::Runner;
use crate::error::{Error, Kind};

/// SQL over Rubin Observatory Butler repositories: query, build and export them.
#[derive(Debug, Parser)]
#[command(name = "butlersql", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Command {
    #[command(subcommand)]
    sub: Option<Sub>,
    #[command(flatten)]
    query: Query,
    /// Log to standard error: error, warn, info, debug, or a filter such as butlersql=debug [env: BUTLERSQL_LOG].
    #[arg(long, value_name = "FILTER", global = true)]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Write a sample campaign, build a repository from it with SQL, and show its contents.
    Demo(demo::Demo),
    /// Write a synthetic campaign: raw files with `_index.json`, seed configuration, good visits.
    Sample(sample::Sample),
}

#[derive(Debug, Args)]
struct Query {
    /// The repository: a folder, a butler.yaml, or a label of the repository index.
    #[arg(value_name = "REPO", required = true)]
    repository: Option<String>,
    /// Run this SQL; may be repeated, and mixed with -f.
    #[arg(short = 'c', long = "command", value_name = "SQL", allow_hyphen_values = true)]
    command: Vec<String>,
    /// Run the script in this file (- is standard input), which may write; may be repeated.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Set the script variable $NAME; without a value, take it from the environment.
    #[arg(short = 'v', long = "set", value_name = "NAME=VALUE")]
    variable: Vec<String>,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Allow statements to change the repository.
    #[arg(long)]
    write: bool,
    /// Do not show the progress of long operations.
    #[arg(short, long)]
    quiet: bool,
}

/// Stack size in bytes of the planning thread, as long statements nest deeply. The stacks of workers stay small,
/// because Linux commits 2 MiB of a large stack at once.
const STACK: usize = 256 << 20;

/// One `-c` or `-f` argument of the command line.
enum Work {
    Text(String),
    File(PathBuf),
}

/// Runs the program; returns its exit code: 0 success, 1 a statement failed, 2 wrong command line, 3 an assertion
/// does not hold, 4 database or server unreachable or access denied, 130 interrupted, 129 and 143 ended by SIGHUP and
/// SIGTERM.
pub fn main() -> ExitCode {
    let matches = Command::command().get_matches();
    let order = order(&matches);
    let command = match Command::from_arg_matches(&matches) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    if let Err(message) = log(command.log.as_deref()) {
        Command::command().error(ErrorKind::ValueValidation, message).exit();
    }
    let in_shell = command.sub.is_none() && order.is_empty() && std::io::stdin().is_terminal();
    interrupt::listen(in_shell);
    // A panic is caught and reported as an error of its statement.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if in_shell {
        // An interrupted query may keep its workers busy; the next query needs others.
        builder.worker_threads(2 * std::thread::available_parallelism().map_or(1, usize::from));
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error_view::print(&Error::from(error), None);
            return ExitCode::from(1);
        }
    };
    let work = || runtime.block_on(run_command(command, order, in_shell));
    let done = std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).map(std::thread::ScopedJoinHandle::join)
    });
    let code = match done {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => {
            error_view::print(&Error::bug("the program panicked; BUTLERSQL_LOG=error shows where"), None);
            1
        }
        Err(error) => {
            error_view::print(&Error::from(error), None);
            1
        }
    };
    // Blocking reads of a cancelled query must not delay the exit.
    runtime.shutdown_background();
    interrupt::remove_staged();
    // Exits before a task that is still running writes more.
    std::process::exit(code.into())
}

/// Starts the log with the filter of `--log`, or else of the environment variable `BUTLERSQL_LOG`, whose errors are
/// ignored.
fn log(filter: Option<&str>) -> Result<(), String> {
    let filter = match filter {
        Some(filter) => EnvFilter::try_new(filter).map_err(|e| format!("--log {filter}: {e}"))?,
        None => EnvFilter::try_from_env("BUTLERSQL_LOG").unwrap_or_else(|_| "off".into()),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

/// Runs the subcommand or the query; returns the exit code.
async fn run_command(command: Command, order: Vec<Work>, in_shell: bool) -> u8 {
    let done = match command.sub {
        Some(Sub::Demo(demo)) => demo.run().await,
        Some(Sub::Sample(sample)) => sample.run(),
        None => query(command.query, order, in_shell).await,
    };
    match done {
        Ok(()) => 0,
        Err(Failure::Reported(kind)) => exit_code(kind),
        Err(Failure::Unreported(error)) => {
            error_view::print(&error, None);
            exit_code(error.kind())
        }
    }
}

/// A failure, and whether its error has been printed.
#[derive(Debug)]
pub enum Failure {
    /// The error has been printed with its location.
    Reported(Kind),
    /// The error has not been printed.
    Unreported(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unreported(error)
    }
}

fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Assertion => 3,
        Kind::Unreachable | Kind::Denied => 4,
        Kind::Interrupted => interrupt::code(),
        _ => 1,
    }
}

/// Returns the `-c` and `-f` arguments in the order of the command line.
fn order(matches: &clap::ArgMatches) -> Vec<Work> {
    let mut all = BTreeMap::new();
    if let (Some(at), Some(texts)) = (matches.indices_of("command"), matches.get_many::<String>("command")) {
        all.extend(at.zip(texts.map(|t| Work::Text(t.clone()))));
    }
    if let (Some(at), Some(files)) = (matches.indices_of("file"), matches.get_many::<PathBuf>("file")) {
        all.extend(at.zip(files.map(|f| Work::File(f.clone()))));
    }
    all.into_values().collect()
}

async fn query(query: Query, work: Vec<Work>, in_shell: bool) -> Result<(), Failure> {
    let repository = query.repository.ok_or_else(|| Error::invalid("no repository given"))?;
    let variables = match variables(&query.variable) {
        Ok(variables) => variables,
        Err(message) => Command::command().error(ErrorKind::ValueValidation, message).exit(),
    };
    let write = query.write || work.iter().any(|w| matches!(w, Work::File(_)));
    let mut runner = Runner::new(&repository, write, query.quiet, query.format, variables)?;
    let done = run(&mut runner, work, in_shell).await;
    runner.end().await;
    done
}

async fn run(runner: &mut Runner, work: Vec<Work>, in_shell: bool) -> Result<(), Failure> {
    if in_shell {
        return shell::run(runner).await;
    }
    if work.is_empty() {
        return runner.standard_input().await;
    }
    for part in work {
        match part {
            Work::Text(text) => runner.text("-c", &text).await?,
            Work::File(file) if file == Path::new("-") => runner.standard_input().await?,
            Work::File(file) => runner.file(&file).await?,
        }
    }
    Ok(())
}

/// Parses the `-v` arguments; returns a message if one is invalid.
fn variables(given: &[String]) -> Result<BTreeMap<String, String>, String> {
    given
        .iter()
        .map(|text| {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Ok(value.to_owned())),
                None => (text.as_str(), std::env::var(text)),
            };
            let head = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !head || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("-v {text}: '{name}' is not a valid variable name"));
            }
            let value = value.map_err(|_| format!("-v {text}: the environment variable is not set"))?;
            Ok((name.to_owned(), value))
        })
        .collect()
}
