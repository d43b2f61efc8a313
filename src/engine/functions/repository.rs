//! Making a repository and describing its world: instruments, dataset types, dimension records.

use std::sync::Arc;

use crate::engine::arguments::{Function, Takes};
use crate::instrument::Instrument;
use crate::repo::{
    CreateRepository, InsertRecords, RegisterDatasetType, RegisterInstrument, RegisterSkymap, WriteCurated,
};

pub fn functions() -> Vec<Function> {
    vec![
        Function::verb("create_repository", "Makes an empty repository where the session looks for one.", |given| {
            Ok(Arc::new(CreateRepository {
                seed_config: given.text("seed_config"),
                dimension_config: given.text("dimension_config"),
                keep: given.bool("override", false),
            }))
        })
        .option("seed_config", Takes::Text, "a configuration file to start from")
        .option("dimension_config", Takes::Text, "a file with another dimension universe; default daf_butler 7")
        .option("override", Takes::Bool, "keep the root and the SQLite file of the seed; default false")
        .notes(
            "A repository of the same configuration is left as it is. Of `butler create`, `--standalone` is not \
             offered: it writes out the Python package's own defaults.",
        )
        .example("CALL create_repository()"),
        Function::verb("register_instrument", "Registers an instrument with its detectors and filters.", |given| {
            Ok(Arc::new(RegisterInstrument {
                instrument: Instrument::find(&given.need("instrument")?)?,
                update: given.bool("update", false),
            }))
        })
        .arg("instrument", Takes::Text, "its class, its short name, or a YAML file that describes it")
        .option("update", Takes::Bool, "overwrite records that differ; default false: they are an error")
        .example("CALL register_instrument('lsst.obs.lsst.LsstComCam')"),
        Function::verb("register_skymap", "Registers a sky map with its tracts and patches.", |given| {
            let (config_file, config) = (given.text("config_file"), given.list("config").unwrap_or_default());
            Ok(Arc::new(RegisterSkymap { config_file, config }))
        })
        .option("config_file", Takes::Text, "a pex_config file: assignments to `config.name`, `config.skyMap` …")
        .option("config", Takes::TextList, "assignments after those of the file, such as 'name=lsst_cells_v1'")
        .notes(
            "Rings sky maps in TAN projection are made, with tract builders `cells` and `legacy`. A sky map of the same \
             name and geometry is left as it is.",
        )
        .example("CALL register_skymap('DATA/demo.skymap.config')"),
        Function::verb(
            "write_curated_calibrations",
            "Stores and certifies the calibrations that are kept as files beside the code of an instrument.",
            |given| {
                Ok(Arc::new(WriteCurated {
                    instrument: Instrument::find(&given.need("instrument")?)?,
                    labels: given.list("label").unwrap_or_default(),
                    data: given.need("data")?,
                    camera: given.text("camera"),
                    collection: given.text("collection"),
                    prefix: given.text("prefix"),
                }))
            },
        )
        .arg("instrument", Takes::Text, "its class, its short name, or a YAML file that describes it")
        .option("label", Takes::TextList, "words in the names of the collections, such as a ticket")
        .arg("data", Takes::Text, "the folder of calibration data, as package `obs_lsst_data` has it")
        .option(
            "camera",
            Takes::Text,
            "the FITS file of the camera, as the pipelines write it; default `camera.fits` in the folder of the instrument, \
             which `obs_lsst_data` does not have",
        )
        .option("collection", Takes::Text, "the CALIBRATION collection; default `INSTRUMENT/calib/LABEL`")
        .option("prefix", Takes::Text, "what collection names begin with; default the name of the instrument")
        .notes(
            "Crosstalk, defects and transmission curves are read from ECSV files and stored as FITS files; the names of \
             the files are the UTC times from when on they are valid. The camera is stored as it is. What is there \
             already is left as it is, if it has not changed. QE curves, linearizers, brighter-fatter kernels and files \
             in YAML or JSON are not understood yet.",
        )
        .example("CALL write_curated_calibrations('LSSTComCam', label => 'DM-48650', data => 'DATA/curated')"),
        Function::verb("register_dataset_type", "Registers a dataset type.", |given| {
            Ok(Arc::new(RegisterDatasetType {
                name: given.need("dataset_type")?,
                storage_class: given.need("storage_class")?,
                dimensions: given.list("dimensions").unwrap_or_default(),
                is_calibration: given.bool("is_calibration", false),
            }))
        })
        .arg("dataset_type", Takes::Text, "its name")
        .arg("storage_class", Takes::Text, "its storage class")
        .option("dimensions", Takes::TextList, "its dimensions, in any order; default none")
        .option("is_calibration", Takes::Bool, "whether its datasets can be certified; default false")
        .example("CALL register_dataset_type('the_monster_20240904', 'SimpleCatalog', ['htm7'])"),
        Function::verb("insert_dimension_records", "Inserts records of a dimension element.", |given| {
            Ok(Arc::new(InsertRecords {
                element: given.need("element")?,
                skip_existing: given.bool("skip_existing", false),
                replace: given.bool("replace", false),
            }))
        })
        .arg("element", Takes::Text, "the dimension element")
        .arg("rows", Takes::Rows("columns of the element"), "the records; columns as in the element's table")
        .option("skip_existing", Takes::Bool, "leave records whose key is there, whatever their values; default false")
        .option("replace", Takes::Bool, "replace records whose key is there; default false: other values are an error")
        .example(
            "CALL insert_dimension_records('visit_system', \
             (SELECT 'LSSTComCam' AS instrument, 0 AS visit_system, 'one-to-one' AS name))",
        ),
    ]
}
