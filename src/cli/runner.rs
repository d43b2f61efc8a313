//! Runs statements and commands one after the other, and stops at the first that fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::commands;
use super::error_view::{self, Source};
use super::output::{Format, Output};
use super::script::{Piece, bind, first_place, pieces};
use super::{Failed, progress};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Place, Result};

/// How long an interrupted statement may take to clean up.
const LEAVE: Duration = Duration::from_millis(100);

/// A session with what a script or a user sets.
#[derive(Debug)]
pub struct Runner {
    /// The session.
    pub session: Session,
    /// Script variables.
    pub variables: BTreeMap<String, String>,
    /// Where answers go.
    pub output: Output,
    /// Whether to tell how long each statement took.
    pub timing: bool,
    /// Scripts being run, innermost last; a script may not run itself.
    running: Vec<PathBuf>,
}

impl Runner {
    /// A runner over a repository.
    ///
    /// # Errors
    /// The engine cannot be set up.
    pub fn new(
        repository: &str,
        write: bool,
        quiet: bool,
        format: Format,
        variables: BTreeMap<String, String>,
    ) -> Result<Self> {
        let session = Session::with(repository, write, progress::display(quiet))?;
        Ok(Self { session, variables, output: Output::new(format), timing: false, running: Vec::new() })
    }

    /// Runs a script file.
    ///
    /// # Errors
    /// The first piece that fails.
    pub async fn file(&mut self, path: &Path) -> Result<(), Failed> {
        let named = |e: Error| Failed::Untold(e.context(format_args!("script '{}'", path.display())));
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

    /// Runs a script named by another: beside it if there is one, else from the working directory.
    ///
    /// # Errors
    /// The first piece that fails.
    pub async fn include(&mut self, name: &str) -> Result<(), Failed> {
        let beside = self.running.last().and_then(|script| script.parent()).map(|folder| folder.join(name));
        match beside.filter(|path| path.exists()) {
            Some(path) => Box::pin(self.file(&path)).await,
            None => Box::pin(self.file(Path::new(name))).await,
        }
    }

    /// Runs the text of a script; an error is printed with its place.
    ///
    /// # Errors
    /// The first piece that fails.
    pub async fn text(&mut self, name: &str, text: &str) -> Result<(), Failed> {
        let source = Source { name, text };
        let tell = |error: Error| {
            error_view::print(&error, Some(source));
            Failed::Told(error.kind())
        };
        for piece in pieces(text).map_err(tell)? {
            match piece {
                Piece::Statement(tokens) => {
                    let bound = bind(tokens, &self.variables).map_err(tell)?;
                    self.statement(bound).await.map_err(tell)?;
                }
                Piece::Command(line, number) => match commands::run(self, &line).await {
                    Ok(_) => {}
                    Err(Failed::Untold(error)) => return Err(tell(error.at(Some(Place { line: number, column: 1 })))),
                    Err(told) => return Err(told),
                },
            }
        }
        Ok(())
    }

    /// Runs one statement and prints its answer; Ctrl-C stops it.
    async fn statement(&mut self, tokens: Vec<datafusion::sql::sqlparser::tokenizer::TokenWithSpan>) -> Result<()> {
        let begun = Instant::now();
        // Of a statement before that ended otherwise.
        self.session.take_failures();
        let place = first_place(&tokens);
        let (session, output) = (&self.session, &mut self.output);
        let work = async {
            let mut answer = session.run(tokens).await?;
            if answer.schema.fields().is_empty() {
                while answer.rows.next().await.transpose()?.is_some() {}
                return Ok(());
            }
            let mut sink = output.begin(&answer.schema)?;
            while let Some(batch) = answer.rows.next().await {
                sink.write(&batch?)?;
                // Rows may come without end and without a pause, and Ctrl-C is looked for in pauses.
                tokio::task::yield_now().await;
            }
            sink.finish()?;
            match session.take_failures() {
                0 => Ok(()),
                n => Err(Error::new(Kind::Failed, format!("{n} of the things asked for could not be done, see above"))),
            }
        };
        let done = tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => {
                session.cancel();
                // The tasks of a COPY remove what it had begun to write as they are dropped; mostly that is done by then.
                tokio::time::sleep(LEAVE).await;
                Err(Error::new(Kind::Interrupted, "interrupted; what was applied before stays"))
            }
        };
        if self.timing {
            eprintln!("time: {:.3} s", begun.elapsed().as_secs_f64());
        }
        // What goes wrong while running has no place of its own.
        done.map_err(|e: Error| e.at(place))
    }

    /// Ends the run.
    ///
    /// # Errors
    /// Never at present; kept for outputs that end late.
    pub fn finish(self) -> Result<()> {
        Ok(())
    }
}
