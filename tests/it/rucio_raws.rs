//! `rucio_register_raws`: raws as files of detectors and as zip archives of exposures.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use macro_rules_attribute::apply;

use crate::rucio::Site;
use crate::world::{butler, oracle, program, run};

/// A site whose raws lie below `raw`, with visits and a skymap; and the folder of the raws.
fn site() -> Option<(Site, String)> {
    let site = Site::new(1)?;
    let folder = site.rucio.join("slac/raw").join(&site.name);
    let data = folder.to_str().expect("text").to_owned();
    run(program().args(["sample", &data, "--exposures", "12", "--nights", "1"])).ok();
    site.home
        .sql(&format!(
            "CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct'); CALL define_visits('LSSTComCam');
             CALL register_skymap('{data}/demo.skymap.config')"
        ))
        .ok();
    Some((site, data))
}

fn register(site: &Site, run: &str, more: &str) -> String {
    format!(
        "CALL rucio_register_raws(['Dataset/{name}/{{tract}}/{{day_obs}}', \
         'Dataset/{name}/Obs/{{day_obs}}/{{exposure.obs_id}}'], \
         (SELECT dataset_id FROM raw WHERE run = '{run}'), rucio_rse => 'SLAC_BUTLER_DISK', scope => 'raw', \
         rse_root => '{}', dtn_url => 'davs://127.0.0.1:2881/slac/lsst/butler'{more})",
        site.rucio.join("slac").display(),
        name = site.name,
    )
}

#[apply(test!)]
fn raws_are_attached_to_the_datasets_of_their_tracts() {
    let Some((site, _)) = site() else { return };
    let Some(python) = butler("b30") else { return };
    site.ask(&register(&site, "LSSTComCam/raw/all", "")).ok();
    let name = &site.name;
    let pattern = format!("raw:Dataset/{name}/*");
    let datasets =
        site.rows(&format!("SELECT name, files FROM rucio_dids('{pattern}') WHERE type = 'DATASET' ORDER BY name"));
    let exposures = site.rows("SELECT DISTINCT day_obs, obs_id FROM exposure ORDER BY obs_id");
    let observations: Vec<String> =
        exposures.iter().map(|row| format!("Dataset/{name}/Obs/{},9", row.replace(',', "/"))).collect();
    let (by_observation, by_tract): (Vec<String>, Vec<String>) =
        datasets.into_iter().partition(|row| row.contains("/Obs/"));
    assert_eq!(by_observation, observations);
    // The Butler finds the same tracts. Exposures without a visit have no tract.
    let mut expected = BTreeSet::new();
    for line in oracle(&python, "tracts.py", &[&site.home.repo(), "LSSTComCam", "demo_cells"]).lines() {
        let (visit, tract) = line.split_once(' ').expect("two numbers");
        expected.insert(format!("Tract{tract} {visit}"));
    }
    let mut found = BTreeSet::new();
    for row in &by_tract {
        let dataset = row.split_once(',').expect("two columns").0;
        let tract = dataset.split('/').nth(2).expect("a tract");
        let members = format!(
            "SELECT DISTINCT raw.exposure FROM rucio_metadata('raw:{dataset}') m JOIN raw ON raw.dataset_id = m.dataset_id"
        );
        found.extend(site.rows(&members).into_iter().map(|exposure| format!("{tract} {exposure}")));
    }
    let (none, found): (BTreeSet<_>, BTreeSet<_>) = found.into_iter().partition(|row| row.starts_with("NoTract"));
    assert!(!expected.is_empty());
    assert_eq!(found, expected);
    let with_tracts: BTreeSet<&str> = found.iter().filter_map(|row| Some(row.split_once(' ')?.1)).collect();
    assert_eq!(none.len() + with_tracts.len(), exposures.len());
    // Again: nothing changes. The kind of file is that of raws.
    let again = site.rows(&register(&site, "LSSTComCam/raw/all", ""));
    assert!(again.iter().all(|row| row.contains(",unchanged,")), "{again:?}");
    let kinds =
        format!("SELECT DISTINCT rubin_butler FROM rucio_metadata('raw:{}')", &by_tract[0].split_once(',').unwrap().0);
    assert_eq!(site.rows(&kinds), ["raw_file"]);
    // A raw that is registered as raw file stays one.
    let one = by_tract[0].split_once(',').expect("two columns").0;
    let data_product = format!(
        "CALL rucio_register('{one}', (SELECT r.dataset_id FROM raw r JOIN rucio_metadata('raw:{one}') m \
         ON m.dataset_id = r.dataset_id), rucio_rse => 'SLAC_BUTLER_DISK', scope => 'raw', rse_root => '{}', \
         dtn_url => 'davs://127.0.0.1:2881/slac/lsst/butler')",
        site.rucio.join("slac").display()
    );
    let same = site.rows(&data_product);
    assert!(same.len() == 1 && same[0].contains(",unchanged,"), "{same:?}");
    let unknown = site.ask(&register(&site, "LSSTComCam/raw/all", ", skymap => 'demo_cell'"));
    assert!(unknown.err.contains("no skymap is named 'demo_cell'; did you mean 'demo_cells'?"), "{}", unknown.err);
}

#[apply(test!)]
fn the_demo_builds_a_second_repository_from_rucio() {
    let Some(site) = Site::new(1) else { return };
    let folder = site.rucio.join("slac/raw").join(&site.name);
    let config = site.home.at("demo.yaml");
    let text = format!(
        "rucio_rse: SLAC_BUTLER_DISK\nscope: raw\nrse_root: {}\ndtn_url: davs://127.0.0.1:2881/slac/lsst/butler\n",
        site.rucio.join("slac").display()
    );
    std::fs::write(&config, text).expect("a configuration");
    for _ in 0..2 {
        let mut command = program();
        command.args(["demo", folder.to_str().expect("text"), "--exposures", "20", "--rucio", &config]);
        run(site.with_rucio(&mut command)).ok();
    }
    let second = folder.join("repo_from_rucio").display().to_string();
    let count = site.ask_of(&second, "SELECT count(*) > 0, count(DISTINCT exposure) FROM raw").ok();
    assert_eq!(count, "count(*) > 0,count(DISTINCT exposure)\ntrue,20\n");
    let mut command = program();
    command.args(["demo", &site.home.at("none"), "--rucio", &site.home.at("absent.yaml")]);
    let wrong = run(site.with_rucio(&mut command));
    assert!(wrong.code == 1 && wrong.err.contains("absent.yaml"), "{}", wrong.err);
    assert!(!Path::new(&site.home.at("none")).exists(), "nothing is written");
}

#[apply(test!)]
fn a_zip_archive_is_one_file_with_its_dimension_records() {
    let Some((site, data)) = site() else { return };
    let Some(python) = butler("b30") else { return };
    let exposure = site.rows("SELECT min(exposure) FROM raw").remove(0);
    let obs_id = site.rows(&format!("SELECT obs_id FROM exposure WHERE exposure = {exposure}")).remove(0);
    let zips = format!("{data}/zips");
    let condition = format!("instrument='LSSTComCam' AND exposure={exposure}");
    let repo = site.home.repo();
    let mut retrieve = Command::new(python.join("butler"));
    retrieve.args(["retrieve-artifacts", &repo, &zips, "-d", "raw", "--collections", "LSSTComCam/raw/all"]);
    run(retrieve.args(["--where", &condition, "--zip"])).ok();
    let written = std::fs::read_dir(&zips).expect("a folder").next().expect("an archive").expect("an entry").path();
    let zip = Path::new(&zips).join(format!("{obs_id}.zip"));
    std::fs::rename(written, &zip).expect("another name");
    std::fs::write(Path::new(&zips).join(format!("{obs_id}_dimensions.yaml")), "description: none\n").expect("a file");
    // Another repository takes the archive.
    let other = site.home.at("other");
    site.ask_of(&other, "CALL create_repository(); CALL register_instrument('LSSTComCam')").ok();
    let mut ingest = Command::new(python.join("butler"));
    ingest.args(["ingest-zip", &other, zip.to_str().expect("text"), "-t", "direct", "--transfer-dimensions"]);
    run(&mut ingest).ok();
    let call = register(&site, "LSSTComCam/raw/all", "").replace("Dataset/", "Dataset/zip/");
    // The repository has no skymap.
    let error = site.ask_of(&other, &call).err;
    assert!(error.contains("the repository has no skymap, which {tract} needs"), "{error}");
    let one = call.replace("rucio_register_raws", "rucio_register");
    let one = one.replace(
        &format!(
            "['Dataset/zip/{n}/{{tract}}/{{day_obs}}', 'Dataset/zip/{n}/Obs/{{day_obs}}/{{exposure.obs_id}}']",
            n = site.name
        ),
        "'Dataset/zip/one'",
    );
    let error = site.ask_of(&other, &one.replace("WHERE run", "WHERE detector = 0 AND run")).err;
    assert!(error.contains("is a member of the zip archive"), "{error}");
    let call = call.replace("{tract}", "all");
    let answer = site.ask_of(&other, &call).ok();
    let did = format!("raw:Dataset/zip/{}/all/{}", site.name, &exposure[..8]);
    assert!(answer.contains(&format!("rucio_file,inserted,{did},2\n")), "{answer}");
    let listed = site.rows(&format!("SELECT name, rubin_butler FROM rucio_metadata('{did}') ORDER BY name"));
    let expected = [(".zip", "zip_file"), ("_dimensions.yaml", "dim_file")]
        .map(|(end, kind)| format!("{}/zips/{obs_id}{end},{kind}", site.name));
    assert_eq!(listed, expected);
    let again = site.ask_of(&other, &call).ok();
    assert!(again.contains(&format!("rucio_file,unchanged,{did},2\n")) && !again.contains("inserted"), "{again}");
}
