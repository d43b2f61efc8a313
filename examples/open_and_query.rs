//! Opens a repository and counts the raws of each night.
//!
//! ```sh
//! cargo run -- demo
//! cargo run --example open_and_query -- butlersql-demo/repo
//! ```

use butlersql::Session;
use datafusion::arrow::util::pretty::print_batches;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let repository = std::env::args().nth(1).ok_or("give the path of a repository")?;
    let session = Session::open(&repository)?;
    let nights = "SELECT day_obs, count(*) AS raws FROM raw JOIN exposure USING (instrument, exposure) \
                  GROUP BY day_obs ORDER BY day_obs";
    print_batches(&session.sql(nights).await?)?;
    Ok(())
}
