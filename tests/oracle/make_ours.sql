-- The repository of make_real.py, made by butlersql:
--   butlersql ROOT -f make_ours.sql -v DATA=… -v SEED=… -v OVERRIDE=… -v TRANSFER=direct
CALL create_repository(seed_config => $SEED, override => $OVERRIDE = 'true');
CALL register_instrument('lsst.obs.lsst.LsstComCam');
CALL ingest_raws($DATA || '/raw/LSSTComCam', transfer => $TRANSFER, fail_fast => true);
CALL register_dataset_type('the_monster_20240904', 'SimpleCatalog', ['htm7']);
CALL register_dataset_type('the_monster_20250219', 'SimpleCatalog', ['htm7']);
CALL register_dataset_type('camera', 'Camera', ['instrument'], is_calibration => true);
CALL register_dataset_type('bias', 'ExposureF', ['instrument', 'detector'], is_calibration => true);
CALL register_dataset_type('manual_defects', 'Defects', ['detector', 'instrument'], is_calibration => true);
CALL register_dataset_type('flat', 'ExposureF', ['instrument', 'detector', 'physical_filter'], is_calibration => true);
CALL register_dataset_type('sky_stats', 'StructuredDataDict', ['instrument', 'detector', 'physical_filter']);
CALL register_dataset_type('skyMap', 'SkyMap', ['skymap']);
CALL register_dataset_type('deepCoadd', 'ExposureF', ['skymap', 'tract', 'patch', 'band']);
CALL register_dataset_type('subfilter_coadd', 'ExposureF', ['tract', 'patch', 'subfilter']);
CALL register_dataset_type('visit_image', 'ExposureF', ['instrument', 'visit', 'detector']);
CALL register_dataset_type('visit_summary', 'ExposureCatalog', ['visit', 'instrument', 'physical_filter', 'band']);
CALL register_dataset_type('match', 'Catalog', ['visit', 'tract', 'htm9']);
CALL register_dataset_type('pixels', 'Catalog', ['healpix8', 'group', 'instrument']);
CALL register_dataset_type('night', 'StructuredDataDict', ['day_obs', 'instrument', 'visit_system'], is_calibration => true);
CALL register_dataset_type('run_summary', 'StructuredDataDict');
CALL register_dataset_type('global_calib', 'StructuredDataDict', is_calibration => true);

CALL register_collection('refcats/DM-46370/the_monster_20240904', 'RUN');
CALL register_collection('refcats/DM-49042/the_monster_20250219', 'RUN');
CALL chain('refcats', ['refcats/DM-46370/the_monster_20240904', 'refcats/DM-49042/the_monster_20250219'],
           doc => 'Reference catalogs.');
CALL register_collection('LSSTComCam/raw/DP1-RC3/DM-49594', 'TAGGED', doc => 'Good visits.');
CREATE EXTERNAL TABLE good_visits (visit BIGINT) STORED AS CSV LOCATION $GOOD_VISITS OPTIONS ('format.has_header' 'false');
CALL associate('LSSTComCam/raw/DP1-RC3/DM-49594',
               (SELECT r.dataset_id FROM raw r JOIN good_visits g ON r.exposure = g.visit WHERE r.run = 'LSSTComCam/raw/all'));
CALL register_collection('LSSTComCam/calib/DM-48650', 'CALIBRATION', doc => 'Certified, it''s said.');
CALL chain('LSSTComCam/DP1/defaults', ['LSSTComCam/raw/DP1-RC3/DM-49594', 'refcats']);
CALL chain('LSSTComCam/DP1/defaults', ['LSSTComCam/calib/DM-48650'], mode => 'prepend');
CALL chain('LSSTComCam/DP1/defaults', ['LSSTComCam/raw/all'], mode => 'extend');
CALL chain('u/edited', ['LSSTComCam/raw/DP1-RC3/DM-49594', 'LSSTComCam/raw/all'], mode => 'extend');
CALL chain('u/edited', ['refcats/DM-46370/the_monster_20240904', 'refcats/DM-49042/the_monster_20250219'], mode => 'prepend');
CALL chain('u/edited', ['LSSTComCam/raw/all'], mode => 'remove');
CALL chain('u/prepended', ['LSSTComCam/raw/DP1-RC3/DM-49594', 'LSSTComCam/raw/all'], mode => 'prepend');
CALL register_collection('u/gone', 'TAGGED');
CALL associate('u/gone', (SELECT dataset_id FROM raw WHERE detector = 4));
CALL remove_collection('u/gone');
CALL register_collection('u/part', 'TAGGED');
CALL associate('u/part', (SELECT dataset_id FROM raw WHERE detector IN (2, 4)));
CALL disassociate('u/part', (SELECT dataset_id FROM raw WHERE detector = 2));

CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-44/LSSTComCam.calibs.20250207a/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-38/LSSTComCam.calibs.20241211a/export.yaml', transfer => 'copy');
CALL import($DATA || '/ancillary', export_file => $DATA || '/pretrained-models-export.yaml', transfer => 'copy');
CALL import($DATA || '/ancillary', export_file => $DATA || '/DM-48089-fgcmLookupTable-export.yaml', transfer => 'symlink');
CALL ingest_files('the_monster_20240904', 'u/files/the_monster_20240904', (SELECT * FROM read_ecsv($DATA || '/the_monster_20240904.ecsv')),
                  prefix => $DATA || '/raw/refcats/the_monster_20240904/', transfer => 'direct');
CALL ingest_files('the_monster_20250219', 'u/files/the_monster_20250219', (SELECT * FROM read_ecsv($DATA || '/the_monster_20250219.ecsv')),
                  prefix => $DATA || '/raw/refcats/the_monster_20250219', transfer => 'copy', id_generation_mode => 'DATAID_TYPE_RUN');
CALL certify('u/certified', (SELECT dataset_id FROM bias WHERE run LIKE 'LSSTComCam/calib/DM-48520/DP1/biasGen%'),
             begin_date => '2024-10-01', end_date => '2024-12-01T12:00:00.5');
SELECT certify('u/certified', dataset_id) AS certified FROM flat WHERE run LIKE 'LSSTComCam/calib/DM-48520/DP1/flat-rGen%';
CALL decertify('u/certified', 'bias', begin_date => '2024-11-01', end_date => '2024-11-02');
CALL decertify('u/certified', 'flat', (SELECT * FROM flat WHERE detector < 2 AND run LIKE 'LSSTComCam/calib/DM-48520/DP1/flat-rGen%'),
               end_date => '2024-11-01');
