-- The golden repository up to where the Butler writes its files (files.py); then tagged.sql.
-- Runs in a folder with the data/ of data.py, on a repository that was created.
CALL register_instrument('data/instrument.yaml');
CALL register_collection('LSSTComCam/raw/all', 'RUN', doc => 'All raws.');
CALL ingest_raws('data/src', regex => '^CC_.*\.fits$', transfer => 'direct', update_records => true, fail_fast => true);
-- No translated header gives an azimuth without an altitude; a second run finds the record altered, hence update_records.
CALL insert_dimension_records('exposure', (SELECT * EXCLUDE (azimuth), 180.25 AS azimuth FROM exposure), replace => true);

CALL insert_dimension_records('visit_system', (
    SELECT 'LSSTComCam' AS instrument, * FROM (VALUES (0, 'one-to-one'), (2, 'by-seq-start-end')) AS v (visit_system, name)));
CALL insert_dimension_records('visit', (
    SELECT e.instrument, exposure AS visit, day_obs, physical_filter, obs_id AS name, seq_num, exposure_time, target_name,
           observation_reason, science_program, azimuth, zenith_angle, decode(v.region, 'hex') AS region,
           timespan_begin, timespan_end
    FROM exposure e JOIN 'data/visit.csv' v ON v.visit = e.exposure));
CALL insert_dimension_records('visit_definition', (SELECT instrument, visit AS exposure, visit FROM visit));
CALL insert_dimension_records('visit_system_membership', (
    SELECT instrument, visit_system, visit FROM visit JOIN visit_system USING (instrument)));
CALL insert_dimension_records('visit_detector_region', (
    SELECT instrument, detector, visit, decode(r.region, 'hex') AS region FROM visit JOIN 'data/visit_detector_region.csv' r USING (visit)));

CALL insert_dimension_records('skymap', (SELECT * EXCLUDE (hash), decode(hash, 'hex') AS hash FROM 'data/skymap.csv'));
CALL insert_dimension_records('tract', (SELECT * EXCLUDE (region), decode(region, 'hex') AS region FROM 'data/tract.csv'));
CALL insert_dimension_records('patch', (SELECT * EXCLUDE (region), decode(region, 'hex') AS region FROM 'data/patch.csv'));

CALL register_dataset_type('skyMap', 'SkyMap', ['skymap']);
CALL register_dataset_type('calexp_meta', 'StructuredDataDict', ['instrument', 'visit', 'detector']);
CALL register_dataset_type('deepCoadd_meta', 'StructuredDataDict', ['skymap', 'tract', 'patch', 'band']);
CALL register_dataset_type('run_summary', 'StructuredDataDict');
CALL register_dataset_type('bias', 'StructuredDataDict', ['instrument', 'detector'], is_calibration => true);
CALL register_dataset_type('dark', 'StructuredDataDict', ['instrument', 'detector'], is_calibration => true);
CALL register_dataset_type('flat', 'StructuredDataDict', ['instrument', 'detector', 'physical_filter'], is_calibration => true);
CALL register_dataset_type('the_monster_20240904', 'SimpleCatalog', ['htm7']);

CALL register_collection('skymaps', 'RUN');
CALL register_collection('u/golden/run1', 'RUN', doc => 'First user run.');
CALL register_collection('u/golden/run2', 'RUN');
CALL register_collection('u/golden/tagged', 'TAGGED', doc => 'Hand picked.');
CALL register_collection('LSSTComCam/calib/gen/20241101', 'RUN');
CALL register_collection('LSSTComCam/calib/gen/20241115', 'RUN');
CALL register_collection('LSSTComCam/calib/DM-1', 'CALIBRATION', doc => 'Certified calibrations.');
CALL register_collection('refcats/DM-46370', 'RUN');
CALL chain('refcats', ['refcats/DM-46370'], doc => 'Reference catalogs.');
CALL chain('LSSTComCam/calib', ['LSSTComCam/calib/DM-1']);
CALL chain('LSSTComCam/defaults', ['LSSTComCam/raw/all', 'LSSTComCam/calib', 'refcats', 'skymaps']);
CALL chain('u/golden/chain', ['u/golden/run1', 'LSSTComCam/defaults']);
CALL chain('u/golden/chain', ['u/golden/run2'], mode => 'prepend');
CALL chain('u/golden/chain', ['u/golden/tagged'], mode => 'extend');
