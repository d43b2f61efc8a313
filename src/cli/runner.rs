//! Runs the statements and commands of a script in order and stops at the first failure.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::task::AbortOnDropHandle;

use super::commands::{self, ControlFlow};
use super::error_view::{self, Source};
use super::interrupt::{self, CLEANUP_GRACE, interrupts};
use super::output::{Format, Output, Sink};
use super::script::{ScriptItem, first_location, split_script, substitute_variables};
use super::{Failure, progress};
use crate::engine::session::Session;
use crate::engine::sql::tokens::tokenize;
use crate::error::{Error, Kind, Result, SourceLocation};

/// A session with the settings and variables of the terminal.
#[derive(Debug)]
pub(super) struct Runner {
    /// The session of the repository.
    pub session: Session,
    /// The values of the script variables, by name.
    pub variables: BTreeMap<String, String>,
    /// The output of query results.
    pub output: Output,
    /// Whether to print the time of each statement.
    pub timing: bool,
    /// The scripts that are running, innermost last; a script must not run itself.
    running: Vec<PathBuf>,
}

impl Runner {
    /// Creates a runner for a repository.
    ///
    /// # Errors
    /// The engine cannot be set up.
    pub(super) fn new(
        repository: &str,
        write: bool,
        quiet: bool,
        format: Format,
        variables: BTreeMap<String, String>,
    ) -> Result<Self> {
        let session = Session::with(repository, write, progress::display(quiet))?;
        interrupt::clean_up(session.staged_outputs());
        Ok(Self { session, variables, output: Output::new(format), timing: false, running: Vec::new() })
    }

    /// Ends the session before the program exits; open transactions are rolled back.
    pub(super) async fn end(&self) {
        interrupt::end();
        self.session.end().await;
    }

    /// Runs a script from standard input.
    ///
    /// # Errors
    /// The first statement or command that fails.
    pub(super) async fn standard_input(&mut self) -> Result<(), Failure> {
        let text = std::io::read_to_string(std::io::stdin()).map_err(Error::from)?;
        self.text("standard input", &text).await
    }

    /// Runs a script file.
    ///
    /// # Errors
    /// The first statement or command that fails.
    pub(super) async fn file(&mut self, path: &Path) -> Result<(), Failure> {
        let named = |e: Error| Failure::Unreported(e.context(format_args!("script '{}'", path.display())));
        let text = std::fs::read_to_string(path).map_err(|e| named(e.into()))?;
        let whole = path.canonicalize().map_err(|e| named(e.into()))?;
        if self.running.contains(&whole) {
            return Err(named(Error::invalid("a script cannot run itself")));
        }
        self.running.push(whole);
        let done = Box::pin(self.text(&path.display().to_string(), &text)).await;
        self.running.pop();
        done
    }

    /// Runs a script named by `\i`. The name is relative to the folder of the running script if that file exists,
    /// else to the working directory.
    ///
    /// # Errors
    /// The first statement or command that fails.
    pub(super) async fn include(&mut self, name: &str) -> Result<(), Failure> {
        let beside = self.running.last().and_then(|script| script.parent()).map(|folder| folder.join(name));
        match beside.filter(|path| path.exists()) {
            Some(path) => Box::pin(self.file(&path)).await,
            None => Box::pin(self.file(Path::new(name))).await,
        }
    }

    /// Runs the text of a script; an error is printed with its location.
    ///
    /// # Errors
    /// The first statement or command that fails.
    pub(super) async fn text(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        // Editors on Windows write a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source { name, text };
        let report = |error: Error| {
            error_view::print(&error, Some(source));
            Failure::Reported(error.kind())
        };
        for item in split_script(text).map_err(report)? {
            match item {
                ScriptItem::Statement(tokens) => {
                    let bound = substitute_variables(tokens, &self.variables).map_err(report)?;
                    self.statement(bound).await.map_err(report)?;
                }
                ScriptItem::Command(line, number) => match commands::run(self, &line).await {
                    Ok(ControlFlow::Continue) => {}
                    // As in psql, only this script ends; a script that included it continues.
                    Ok(ControlFlow::Quit) => return Ok(()),
                    Err(Failure::Unreported(error)) => {
                        return Err(report(error.with_location(Some(SourceLocation { line: number, column: 1 }))));
                    }
                    Err(failure) => return Err(failure),
                },
            }
        }
        Ok(())
    }

    /// Runs the query of a shell command; an error has no location, because the user did not write the query.
    ///
    /// # Errors
    /// The error of the query.
    pub(super) async fn query(&mut self, sql: &str) -> Result<()> {
        let done = match tokenize(sql) {
            Ok(tokens) => self.statement(tokens).await,
            Err(error) => Err(error),
        };
        done.map_err(|e| Error::new(e.kind(), e.message()))
    }

    /// Runs one statement and prints its result; Ctrl-C interrupts it.
    async fn statement(&mut self, tokens: Vec<datafusion::sql::sqlparser::tokenizer::TokenWithSpan>) -> Result<()> {
        let begun = Instant::now();
        let mut interrupts = interrupts();
        // Resets the counter of an earlier statement that failed.
        self.session.take_failures();
        let location = first_location(&tokens);
        let (session, output) = (&self.session, &mut self.output);
        let mut making = None;
        let work = async {
            let answer = AssertUnwindSafe(session.run(tokens)).catch_unwind().await.map_err(fault)??;
            let (mut rows, task) = spawn_stream(answer.rows);
            making = Some(task);
            let mut sink = (!answer.schema.fields().is_empty()).then(|| output.begin(&answer.schema)).transpose()?;
            while let Some(batch) = rows.recv().await {
                match &mut sink {
                    Some(sink) => sink.write(&batch?)?,
                    None => drop(batch?),
                }
            }
            if let Some(task) = &mut making
                && let Err(e) = task.await
                && e.is_panic()
            {
                return Err(fault(e.into_panic()));
            }
            sink.map_or(Ok(()), Sink::finish)?;
            match session.take_failures() {
                0 => Ok(()),
                n => Err(Error::new(Kind::Failed, format!("{n} items failed; see the rows above"))),
            }
        };
        let done = tokio::select! {
            done = work => done,
            _ = interrupts.recv() => {
                if !interrupt::is_survived() {
                    interrupt::end();
                }
                session.cancel();
                drop(making);
                // Gives dropped tasks of a COPY time to remove their staged files. This does not use a timer of the
                // runtime, which may be busy.
                std::thread::sleep(CLEANUP_GRACE);
                Err(Error::new(Kind::Interrupted, "interrupted; committed changes are kept"))
            }
        };
        if self.timing {
            eprintln!("time: {:.3} s", begun.elapsed().as_secs_f64());
        }
        // An error during execution has no location; it gets that of the statement.
        done.map_err(|e: Error| e.with_location(location))
    }
}

/// Converts a panic of the engine to an error of the statement; the session continues.
#[expect(clippy::needless_pass_by_value, reason = "a panic comes as a box")]
fn fault(panic: Box<dyn Any + Send>) -> Error {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    Error::bug(format!("the engine panicked on this statement: {}", message.unwrap_or("no message")))
}

/// Computes rows in a separate task, so that the caller can react to Ctrl-C while the query computes without yielding.
fn spawn_stream(mut rows: SendableRecordBatchStream) -> (Receiver<Result<RecordBatch>>, AbortOnDropHandle<()>) {
    let (sender, receiver) = channel(2);
    let making = async move {
        while let Some(batch) = rows.next().await {
            let is_last = batch.is_err();
            if sender.send(batch.map_err(Error::from)).await.is_err() || is_last {
                break;
            }
        }
    };
    (receiver, AbortOnDropHandle::new(tokio::spawn(making)))
}
