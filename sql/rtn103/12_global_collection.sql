-- The selected exposures as a tagged collection, and one collection to find everything in.
\echo == Create global collection
CALL register_collection('LSSTComCam/raw/DP1-RC3/DM-49594', 'TAGGED');
SELECT associate('LSSTComCam/raw/DP1-RC3/DM-49594', r.dataset_id) AS associated
    FROM raw r JOIN read_text($GOOD_VISITS) g ON r.exposure = CAST(g.line AS BIGINT)
    WHERE r.run = 'LSSTComCam/raw/all';
CALL chain('LSSTComCam/DP1/defaults', [
    'LSSTComCam/raw/DP1-RC3/DM-49594', 'LSSTComCam/calib', 'refcats', 'skymaps', 'pretrained_models', 'LSSTComCam/calib/fgcmcal',
    'LSSTComCam/calib/DM-49977/DP1.0/preloaded_SsObjects.20250409']);
