//! Random statements have the answers that SQLite and PostgreSQL give themselves, with parts of them left to the database
//! and without. `BUTLERSQL_STATEMENTS` sets how many, `BUTLERSQL_SEED` the first seed.

mod dice;

use std::collections::BTreeMap;
use std::sync::Arc;

use butlersql::Session;
use butlersql::Silent;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use macro_rules_attribute::apply;
use sqlx::{Connection, PgConnection, Row, SqliteConnection};
use tokio::runtime::Runtime;

use self::dice::{Dice, NUMBERS, Statement, TEXTS, long_statement, statement};
use crate::world::{Db, Home, has_internals};

/// Of so many statements one is long.
const LONG: u64 = 500;

/// The rows, sorted, each as texts with commas between.
type Answer = Result<Vec<String>, String>;

/// What errors say where the answer does not fit, or is none.
const NO_VALUE: [&str; 3] = ["out of range", "ivide by zero", "more than one row"];
/// What errors say where something is not done here.
const REFUSED: [&str; 3] = ["not supported", "is not understood", "write it as a JOIN"];

/// A repository of which both sides are asked.
struct Side {
    home: Home,
    ours: Vec<Session>,
    /// The database itself.
    sqlite: Option<SqliteConnection>,
    postgres: Option<PgConnection>,
}

/// The tables as the statements know them, of columns that are called by other names in the database.
fn tables(key: &str, quoted: bool) -> String {
    let exposure = if quoted { "\"exposure\"" } else { "exposure" };
    let table = |name: &str, instrument: &str| {
        format!(
            "{name} AS (SELECT {key} AS k, CAST(seq_num AS BIGINT) AS n, target_name AS s, observation_reason AS g \
             FROM {exposure} WHERE instrument = '{instrument}')"
        )
    };
    format!("WITH {}, {} ", table("t", "I"), table("u", "J"))
}

impl Side {
    fn new(db: Db, runtime: &Runtime) -> Option<Self> {
        let home = Home::new(db)?;
        home.create();
        let mut dice = Dice::new(17);
        let mut sql = String::new();
        for instrument in ["I", "J"] {
            for (name, row) in [
                (
                    "instrument",
                    "'I' AS name, 'no.I' AS class_name, 9 AS visit_max, 9 AS exposure_max, 9 AS detector_max",
                ),
                ("physical_filter", "'I' AS instrument, 'f' AS name, 'r' AS band"),
                ("day_obs", "'I' AS instrument, 20240101 AS id"),
                ("group", "'I' AS instrument, 'g' AS name"),
            ] {
                let row = row.replace("'I'", &format!("'{instrument}'"));
                sql.push_str(&format!("CALL insert_dimension_records('{name}', (SELECT {row}));"));
            }
            let mut keys: Vec<i64> = NUMBERS.into_iter().chain(6..9).collect();
            keys.retain(|_| dice.below(4) > 0);
            let rows = keys.iter().map(|key| {
                let or_null =
                    |dice: &mut Dice, value: String| if dice.below(3) == 0 { "NULL".to_owned() } else { value };
                // A column of 32 bits.
                let number = NUMBERS[dice.below(6)].to_string();
                let number = or_null(&mut dice, number);
                let [s, g] = [0, 1].map(|_| {
                    let text = format!("'{}'", dice.pick(&TEXTS));
                    or_null(&mut dice, text)
                });
                format!("({key}, CAST({number} AS BIGINT), CAST({s} AS TEXT), CAST({g} AS TEXT))")
            });
            let rows = rows.collect::<Vec<_>>().join(", ");
            sql.push_str(&format!(
                "CALL insert_dimension_records('exposure', (SELECT '{instrument}' AS instrument, k AS id, \
                 CAST(k AS TEXT) AS obs_id, 'f' AS physical_filter, 20240101 AS day_obs, 'g' AS \"group\", n AS seq_num, \
                 s AS target_name, g AS observation_reason FROM (VALUES {rows}) v(k, n, s, g)));"
            ));
        }
        home.sql(&sql).ok();
        let ours = [true, false].map(|pushdown| {
            let session = Session::with(&home.repo(), false, Arc::new(Silent)).expect("a session");
            runtime.block_on(session.sql(&format!("SET butler.pushdown = {pushdown}"))).expect("set");
            session
        });
        let (mut sqlite, mut postgres) = (None, None);
        match db {
            Db::Sqlite => {
                let url = format!("sqlite://{}/gen3.sqlite3", home.repo());
                sqlite = Some(runtime.block_on(SqliteConnection::connect(&url)).expect("SQLite"));
            }
            _ => {
                let url = home.database().expect("a database");
                postgres = Some(runtime.block_on(PgConnection::connect(url)).expect("PostgreSQL"));
            }
        }
        Some(Self { home, ours: ours.into(), sqlite, postgres })
    }

    /// What the database answers itself.
    async fn own(&mut self, sql: &str, columns: usize) -> Answer {
        let texts: Vec<_> = (0..columns).map(|at| format!("CAST(c{at} AS TEXT) AS c{at}")).collect();
        // PostgreSQL 15 compares the count of a window with the value of an outer row before; not where it is added to.
        let sql = sql.replace("count(*) OVER", "0 + count(*) OVER");
        let sql = format!("{}SELECT {} FROM ({sql}) AS q", tables("id", true), texts.join(", "));
        let row = |value: &dyn Fn(usize) -> Option<String>| {
            let cells = (0..columns).map(|at| value(at).unwrap_or_else(|| "NULL".to_owned()));
            cells.collect::<Vec<_>>().join(",")
        };
        let sql = sqlx::AssertSqlSafe(sql);
        let rows: Vec<String> = if let Some(sqlite) = &mut self.sqlite {
            let rows = sqlx::query(sql).persistent(false).fetch_all(sqlite).await.map_err(|e| e.to_string())?;
            rows.iter().map(|cells| row(&|at| cells.get::<Option<String>, _>(at))).collect()
        } else {
            let postgres = self.postgres.as_mut().expect("a database");
            let rows = sqlx::query(sql).persistent(false).fetch_all(postgres).await.map_err(|e| e.to_string())?;
            rows.iter().map(|cells| row(&|at| cells.get::<Option<String>, _>(at))).collect()
        };
        Ok(sorted(rows))
    }
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

async fn ours(session: &Session, sql: &str) -> Answer {
    let batches =
        session.sql(&format!("{}{sql}", tables("exposure", false))).await.map_err(|e| e.message().to_owned())?;
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in &batches {
        let cells: Vec<_> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).expect("a format")).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| cells.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(",")),
        );
    }
    Ok(sorted(rows))
}

fn says(error: &str, words: &[&str]) -> bool {
    words.iter().any(|word| error.contains(word))
}

/// How an answer of ours stands to those of the databases, or what is wrong with it.
fn judged(statement: &Statement, ours: &Answer, sqlite: &Answer, postgres: &Answer) -> Result<&'static str, String> {
    match ours {
        Err(error) if has_internals(error) => Err(format!("shows internals: '{error}'")),
        Err(error) if says(error, &NO_VALUE) => {
            let fits = sqlite.is_ok() && postgres.is_ok() && !statement.computes;
            if fits { Err(format!("says '{error}'")) } else { Ok("no value") }
        }
        Err(error) if says(error, &REFUSED) => Ok("refused"),
        Err(_) if sqlite.is_err() && postgres.is_err() => Ok("no statement"),
        Err(error) => Err(format!("says '{error}'")),
        Ok(rows) => match (postgres, sqlite) {
            (Ok(own), _) if own == rows => Ok("answered"),
            (Ok(own), _) => Err(format!("answers {rows:?}, PostgreSQL {own:?}, SQLite {sqlite:?}")),
            // Whether there is a row, or an equal one, can be known without the value that has no room.
            (Err(_), Err(_)) if statement.computes && statement.sql.contains("(SELECT") => Ok("unchecked"),
            // What PostgreSQL computes first, and what not at all, is its own choice.
            (Err(_), Ok(own)) if own == rows => Ok("answered"),
            (Err(error), _) => Err(format!("answers {rows:?}, SQLite {sqlite:?}, PostgreSQL says '{error}'")),
        },
    }
}

#[apply(test!)]
fn random_statements_have_the_answers_of_the_databases() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let many = number("BUTLERSQL_STATEMENTS").unwrap_or(10_000);
    let first = number("BUTLERSQL_SEED").unwrap_or(1);
    // Most of the time goes by in waiting for the databases.
    let threads = std::thread::available_parallelism().map_or(1, |n| 3 * n.get() as u64).min(12);
    let all: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..threads)
            .map(|thread| {
                std::thread::Builder::new()
                    .stack_size(256 << 20)
                    .spawn_scoped(scope, move || ask((first + thread..first + many).step_by(threads as usize)))
                    .expect("a thread")
            })
            .collect();
        asking.into_iter().filter_map(|asked| asked.join().expect("an end")).collect()
    });
    let (mut counts, mut wrong) = (BTreeMap::new(), Vec::new());
    for (counted, found) in all {
        for (word, count) in counted {
            *counts.entry(word).or_insert(0) += count;
        }
        wrong.extend(found);
    }
    eprintln!("{counts:?}");
    wrong.iter().for_each(|message| eprintln!("{message}\n"));
    assert!(wrong.is_empty(), "{} of {many} statements have other answers, see above", wrong.len());
    let total: u64 = counts.values().sum();
    let answered = counts.get("answered").copied().unwrap_or(0);
    assert!(total == 0 || answered * 100 > total * 85, "only {answered} of {total} were answered: {counts:?}");
}

/// Asks all, and counts how the answers are; `None` without a server.
fn ask(seeds: impl Iterator<Item = u64>) -> Option<(BTreeMap<&'static str, u64>, Vec<String>)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_stack_size(256 << 20)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut sqlite = Side::new(Db::Sqlite, &runtime)?;
    let mut postgres = Side::new(Db::Postgres, &runtime)?;
    let (mut counts, mut wrong) = (BTreeMap::new(), Vec::new());
    for seed in seeds {
        let statement = if seed % LONG == 0 { long_statement(seed) } else { statement(seed) };
        let columns = (0..3).take_while(|at| statement.sql.contains(&format!(" AS c{at}"))).count();
        let sql = &statement.sql;
        let [in_sqlite, in_postgres] =
            [&mut sqlite, &mut postgres].map(|side| runtime.block_on(side.own(sql, columns)));
        let side = if seed % 2 == 0 { &sqlite } else { &postgres };
        for (session, word) in side.ours.iter().zip(["with", "without"]) {
            let answer = runtime.block_on(ours(session, sql));
            match judged(&statement, &answer, &in_sqlite, &in_postgres) {
                Ok(word) => *counts.entry(word).or_insert(0) += 1,
                Err(message) => {
                    let shown: String = sql.chars().take(2000).collect();
                    wrong.push(format!("{seed}, {:?} {word} pushdown: {shown}\n  {message}", side.home.db()));
                }
            }
        }
    }
    Some((counts, wrong))
}
