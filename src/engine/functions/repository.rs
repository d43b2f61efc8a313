//! Procedures that create a repository and register instruments, dataset types and dimension records.

use std::sync::Arc;

use crate::engine::functions::args::ArgType;
use crate::engine::functions::definition::FunctionDef;
use crate::instrument::Instrument;
use crate::repo::CreateRepository;
use crate::repo::InsertRecords;
use crate::repo::RegisterDatasetType;
use crate::repo::RegisterInstrument;
use crate::repo::RegisterSkymap;
use crate::repo::WriteCurated;

pub(super) fn functions() -> Vec<FunctionDef> {
    vec![
        create_repository(),
        register_instrument(),
        register_skymap(),
        write_curated_calibrations(),
        register_dataset_type(),
        insert_dimension_records(),
    ]
}

fn create_repository() -> FunctionDef {
    FunctionDef::procedure("create_repository", "Creates an empty repository at the location of the session.", |args| {
        Ok(Arc::new(CreateRepository {
            seed_config: args.text("seed_config"),
            dimension_config: args.text("dimension_config"),
            keep: args.bool("override", false),
        }))
    })
    .option("seed_config", ArgType::Text, "a configuration file to start from")
    .option("dimension_config", ArgType::Text, "a file with another dimension universe; default daf_butler 7")
    .option("override", ArgType::Bool, "keep the root and the SQLite file of the seed configuration; default false")
    .notes(
        "An existing repository with the same configuration is unchanged. The option `--standalone` of `butler create` \
             is not supported: it writes the defaults of the Python package.",
    )
    .example("CALL create_repository()")
}

fn register_instrument() -> FunctionDef {
    FunctionDef::procedure("register_instrument", "Registers an instrument with its detectors and filters.", |args| {
        Ok(Arc::new(RegisterInstrument {
            instrument: Instrument::find(&args.required("instrument")?)?,
            update: args.bool("update", false),
        }))
    })
    .arg("instrument", ArgType::Text, "its class, its short name, or a YAML file that describes it")
    .option("update", ArgType::Bool, "update records that differ; default false: a difference is an error")
    .example("CALL register_instrument('lsst.obs.lsst.LsstComCam')")
}

fn register_skymap() -> FunctionDef {
    FunctionDef::procedure("register_skymap", "Registers a sky map with its tracts and patches.", |args| {
        let (config_file, config) = (args.text("config_file"), args.list("config").unwrap_or_default());
        Ok(Arc::new(RegisterSkymap { config_file, config }))
    })
    .option("config_file", ArgType::Text, "a pex_config file: assignments to `config.name`, `config.skyMap` …")
    .option("config", ArgType::TextList, "assignments that are applied after the file, such as 'name=lsst_cells_v1'")
    .notes(
        "Supported are rings sky maps in TAN projection with the tract builders `cells` and `legacy`. An existing sky \
             map with the same name and geometry is unchanged.",
    )
    .example("CALL register_skymap('DATA/demo.skymap.config')")
}

fn write_curated_calibrations() -> FunctionDef {
    FunctionDef::procedure(
            "write_curated_calibrations",
            "Stores and certifies the curated calibrations of an instrument.",
            |args| {
                Ok(Arc::new(WriteCurated {
                    instrument: Instrument::find(&args.required("instrument")?)?,
                    labels: args.list("label").unwrap_or_default(),
                    data: args.required("data")?,
                    camera: args.text("camera"),
                    collection: args.text("collection"),
                    prefix: args.text("prefix"),
                }))
            },
        )
        .arg("instrument", ArgType::Text, "its class, its short name, or a YAML file that describes it")
        .option("label", ArgType::TextList, "labels in the names of the collections, such as a ticket")
        .arg("data", ArgType::Text, "the folder of calibration data, in the layout of package `obs_lsst_data`")
        .option(
            "camera",
            ArgType::Text,
            "the FITS file of the camera, as written by the pipelines; default `camera.fits` in the folder of the instrument, \
             which `obs_lsst_data` does not contain",
        )
        .option("collection", ArgType::Text, "the CALIBRATION collection; default `INSTRUMENT/calib/LABEL`")
        .option("prefix", ArgType::Text, "prefix of collection names; default the name of the instrument")
        .notes(
            "Crosstalk, defects and transmission curves are read from ECSV files and stored as FITS files; each file name is \
             the start of the validity range, in UTC. The camera file is stored unchanged. Existing calibrations \
             with the same content are unchanged. QE curves, linearizers, brighter-fatter kernels, and files in YAML or \
             JSON, are not supported.",
        )
        .example("CALL write_curated_calibrations('LSSTComCam', label => 'DM-48650', data => 'DATA/curated')")
}

fn register_dataset_type() -> FunctionDef {
    FunctionDef::procedure("register_dataset_type", "Registers a dataset type.", |args| {
        Ok(Arc::new(RegisterDatasetType {
            name: args.required("dataset_type")?,
            storage_class: args.required("storage_class")?,
            dimensions: args.list("dimensions").unwrap_or_default(),
            is_calibration: args.bool("is_calibration", false),
        }))
    })
    .arg("dataset_type", ArgType::Text, "the name of the dataset type")
    .arg("storage_class", ArgType::Text, "the name of the storage class")
    .option("dimensions", ArgType::TextList, "the dimensions, in any order; default none")
    .option("is_calibration", ArgType::Bool, "whether datasets can be certified; default false")
    .example("CALL register_dataset_type('the_monster_20240904', 'SimpleCatalog', ['htm7'])")
}

fn insert_dimension_records() -> FunctionDef {
    FunctionDef::procedure("insert_dimension_records", "Inserts records of a dimension element.", |args| {
        Ok(Arc::new(InsertRecords {
            element: args.required("element")?,
            skip_existing: args.bool("skip_existing", false),
            replace: args.bool("replace", false),
        }))
    })
    .arg("element", ArgType::Text, "the dimension element")
    .arg("rows", ArgType::Query("columns of the element"), "the records, with the columns of the element's table")
    .option("skip_existing", ArgType::Bool, "skip records whose key exists, without comparing values; default false")
    .option("replace", ArgType::Bool, "replace records whose key exists; default false: other values are an error")
    .example(
        "CALL insert_dimension_records('visit_system', \
             (SELECT 'LSSTComCam' AS instrument, 0 AS visit_system, 'one-to-one' AS name))",
    )
}
