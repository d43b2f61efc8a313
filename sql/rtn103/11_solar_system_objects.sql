-- Predicted positions of solar system objects, and one tagged collection of all of them.
\echo == Ingest Solar System Objects catalog
CALL import($DATA || '/ancillary', export_file => $DATA || '/DM-49977-export.yaml', transfer => 'direct');
CALL register_collection('LSSTComCam/calib/DM-49977/DP1.0/preloaded_SsObjects.20250409', 'TAGGED');
SELECT associate('LSSTComCam/calib/DM-49977/DP1.0/preloaded_SsObjects.20250409', dataset_id) AS associated
    FROM "preloaded_DRP_SsObjects" WHERE run LIKE 'u/jkurla/dp1_ephem_2%' AND instrument = 'LSSTComCam';
