//! `butlersql demo`: a sample campaign built into a repository by the scripts of `sql/rtn103`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::output::Format;
use super::runner::Runner;
use super::sample::{Content, Sample};
use crate::error::{Error, Result};
use crate::repo::RegisterOptions;

/// The arguments of `butlersql demo`.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The folder for the sample, the scripts and the repository.
    #[arg(default_value = "butlersql-demo")]
    dir: PathBuf,
    /// Number of exposures of the sample.
    #[arg(long, default_value_t = 200)]
    exposures: usize,
    /// A configuration of rucio-register: also register the raws in Rucio, and build a second repository from there.
    #[arg(long, value_name = "FILE")]
    rucio: Option<PathBuf>,
}

/// The name of the dataset of Rucio that `--rucio` fills, with the name of the demo's folder.
const DATASET: &str = "Dataset/butlersql";

/// The scripts of the campaign, embedded so that the program does not need the source tree.
const SCRIPTS: [(&str, &str); 16] = [
    ("campaign.sql", include_str!("../../sql/rtn103/campaign.sql")),
    ("01_create_repository.sql", include_str!("../../sql/rtn103/01_create_repository.sql")),
    ("02_register_instrument.sql", include_str!("../../sql/rtn103/02_register_instrument.sql")),
    ("03_register_skymap.sql", include_str!("../../sql/rtn103/03_register_skymap.sql")),
    ("04_ingest_raws.sql", include_str!("../../sql/rtn103/04_ingest_raws.sql")),
    ("05_define_visits.sql", include_str!("../../sql/rtn103/05_define_visits.sql")),
    ("06_curated_calibrations.sql", include_str!("../../sql/rtn103/06_curated_calibrations.sql")),
    ("07_calibrations.sql", include_str!("../../sql/rtn103/07_calibrations.sql")),
    ("08_reference_catalogs.sql", include_str!("../../sql/rtn103/08_reference_catalogs.sql")),
    ("09_pretrained_models.sql", include_str!("../../sql/rtn103/09_pretrained_models.sql")),
    ("10_fgcm.sql", include_str!("../../sql/rtn103/10_fgcm.sql")),
    ("11_solar_system_objects.sql", include_str!("../../sql/rtn103/11_solar_system_objects.sql")),
    ("12_global_collection.sql", include_str!("../../sql/rtn103/12_global_collection.sql")),
    ("13_check.sql", include_str!("../../sql/rtn103/13_check.sql")),
    ("15_register_raws.sql", include_str!("../../sql/rtn103/15_register_raws.sql")),
    ("16_build_from_rucio.sql", include_str!("../../sql/rtn103/16_build_from_rucio.sql")),
];

impl Demo {
    /// Writes the sample, builds the repository and prints commands to try next.
    ///
    /// # Errors
    /// A file that cannot be written, or the first statement that fails.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let (data, scripts, repository) = (self.dir.join("data"), self.dir.join("rtn103"), self.dir.join("repo"));
        // A wrong configuration is reported before the campaign.
        let rucio = self.rucio_variables()?;
        let sample =
            Sample { dir: data.clone(), exposures: self.exposures, nights: 3, seed: 103, content: Content::Translated };
        sample.run()?;
        unpack(&scripts)?;
        let data = std::path::absolute(data).map_err(Error::from)?;
        let variables = BTreeMap::from([
            ("DATA".to_owned(), data.display().to_string()),
            ("SEED".to_owned(), data.join("butler-seed_ccms1.yaml").display().to_string()),
            ("GOOD_VISITS".to_owned(), data.join("dp1_good_visits.txt").display().to_string()),
            ("SKYMAP".to_owned(), data.join("demo.skymap.config").display().to_string()),
        ]);
        let named = repository.display().to_string();
        let mut runner = Runner::new(&named, true, false, Format::Table, variables)?;
        let done = runner.file(&scripts.join("campaign.sql")).await;
        runner.end().await;
        done?;
        let did = rucio.as_ref().map_or("", |variables| &variables["DID"]).to_owned();
        if let Some(variables) = rucio {
            let second = self.dir.join("repo_from_rucio").display().to_string();
            for (repository, script) in [(&named, "15_register_raws.sql"), (&second, "16_build_from_rucio.sql")] {
                let mut runner = Runner::new(repository, true, false, Format::Table, variables.clone())?;
                let done = runner.file(&scripts.join(script)).await;
                runner.end().await;
                done?;
            }
        }
        println!("Try next:");
        println!("  butlersql {named} -c \"SELECT day_obs, band, count(*) FROM exposures GROUP BY ALL ORDER BY 1, 2\"");
        if self.rucio.is_some() {
            println!(
                "  butlersql {} -c \"SELECT * FROM rucio_dids('{did}')\"",
                self.dir.join("repo_from_rucio").display()
            );
        }
        println!("  butlersql {named}");
        Ok(())
    }
}

impl Demo {
    /// Returns the variables of the scripts for Rucio, with `--rucio`.
    fn rucio_variables(&self) -> Result<Option<BTreeMap<String, String>>> {
        let Some(file) = &self.rucio else { return Ok(None) };
        let file = file.display().to_string();
        let config = RegisterOptions { config: Some(file.clone()), ..RegisterOptions::default() }.resolve()?;
        let name = self.dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let dataset = format!("{DATASET}/{name}");
        Ok(Some(BTreeMap::from([
            ("REGISTER_CONFIG".to_owned(), file),
            ("DID".to_owned(), format!("{}:{dataset}", config.scope)),
            ("DATASET".to_owned(), dataset),
            ("PREFIX".to_owned(), format!("{}={}", config.dtn_url, config.rse_root)),
        ])))
    }
}

fn unpack(dir: &Path) -> Result<()> {
    let named = |e: std::io::Error| Error::from(e).context(format_args!("writing '{}'", dir.display()));
    std::fs::create_dir_all(dir).map_err(named)?;
    for (name, text) in SCRIPTS {
        std::fs::write(dir.join(name), text).map_err(named)?;
    }
    Ok(())
}
