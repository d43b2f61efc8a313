//! The interactive shell, with history and completion.

use rustyline::config::{CompletionType, Configurer};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, Editor};

use super::Failure;
use super::commands::{self, ControlFlow};
use super::complete::ShellHelper;
use super::error_view;
use super::interrupt::{self, interrupts};
use super::runner::Runner;
use crate::error::{Error, Kind};

/// Runs the shell until the user quits; a statement that fails does not end it.
///
/// # Errors
/// The terminal cannot be used, or the repository exists and cannot be opened.
pub(super) async fn run(runner: &mut Runner) -> Result<(), Failure> {
    let broken = |e: ReadlineError| Failure::Unreported(Error::new(Kind::Failed, e.to_string()));
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Editor<ShellHelper, DefaultHistory> = Editor::with_config(config).map_err(broken)?;
    editor.set_auto_add_history(true);
    editor.set_helper(Some(ShellHelper::new()));
    let history = std::env::home_dir().map(|home| home.join(".butlersql_history"));
    if let Some(file) = &history {
        // The first session has no history file.
        let _ = editor.load_history(file);
    }
    println!("butlersql {}; \\? lists commands, \\q quits", env!("CARGO_PKG_VERSION"));
    loop {
        {
            let mut heard = interrupts();
            tokio::select! {
                () = refresh_completions(runner, editor.helper_mut()) => {}
                _ = heard.recv() => {}
            }
        }
        let prompt = if runner.session.handle().is_writable() { "butler# " } else { "butler> " };
        match editor.readline(prompt) {
            Ok(line) => {
                if let Some(file) = &history {
                    // A history that cannot be saved is ignored.
                    let _ = editor.append_history(file);
                }
                if one(runner, &line).await == ControlFlow::Quit || interrupt::is_ending() {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(())
}

async fn one(runner: &mut Runner, line: &str) -> ControlFlow {
    let line = match line.trim().trim_end_matches(';') {
        "exit" | "quit" => "\\q",
        "help" => "\\?",
        _ => line,
    };
    if line.starts_with('\\') {
        return match commands::run(runner, line).await {
            Ok(then) => then,
            Err(Failure::Unreported(error)) => {
                error_view::print(&error, None);
                ControlFlow::Continue
            }
            Err(Failure::Reported(_)) => ControlFlow::Continue,
        };
    }
    // `text` has printed the error.
    let _ = runner.text("shell", line).await;
    ControlFlow::Continue
}

/// Updates the names of tables, columns and collections that completion offers.
async fn refresh_completions(runner: &Runner, helper: Option<&mut ShellHelper>) {
    let Some(helper) = helper else { return };
    let sql = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'";
    if let Ok((tables, columns)) = names(runner, sql).await {
        (helper.tables, helper.columns) = (tables, columns);
    }
    if let Ok((collections, _)) = names(runner, "SELECT name, type FROM collections").await {
        helper.collections = collections;
    }
}

/// Returns the distinct values of the first two columns of a query.
async fn names(runner: &Runner, sql: &str) -> Result<(Vec<String>, Vec<String>), Error> {
    use datafusion::arrow::compute::cast;
    use datafusion::arrow::datatypes::DataType;
    let mut all = [std::collections::BTreeSet::new(), std::collections::BTreeSet::new()];
    for batch in runner.session.sql(sql).await? {
        for (set, column) in all.iter_mut().zip(batch.columns()) {
            let texts = cast(column, &DataType::Utf8)?;
            let texts = datafusion::arrow::array::AsArray::as_string::<i32>(&texts);
            set.extend(texts.iter().flatten().map(str::to_owned));
        }
    }
    let [first, second] = all.map(|set| set.into_iter().collect());
    Ok((first, second))
}
