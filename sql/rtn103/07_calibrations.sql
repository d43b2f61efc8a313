-- The calibrations of the campaign, and one chain to find them in.
\echo == Ingest calibration data
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-46/LSSTComCam.calibs.20250224a/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-44/LSSTComCam.calibs.20250207a/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-38/LSSTComCam.calibs.20241211a/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-36/LSSTComCam.calibs.20241120a/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-34/LSSTComCam.calibs.20241113a/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-33/LSSTComCam.calibs.20241112a/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-32/LSSTComCam.calibs.20241110a/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-30/LSSTComCam.calibs.20241107a/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-26/LSSTComCam.calibs.20241028d/export.yaml', transfer => 'direct');
CALL import($DATA || '/ancillary', export_file => $DATA || '/calibs/TAXICAB-22/LSSTComCam.calibs.20240926a/export.yaml', transfer => 'direct');
CALL chain('LSSTComCam/calib', [
    'LSSTComCam/calib/DM-48955', 'LSSTComCam/calib/DM-48520', 'LSSTComCam/calib/DM-47365', 'LSSTComCam/calib/DM-47741',
    'LSSTComCam/calib/DM-47547', 'LSSTComCam/calib/DM-47499', 'LSSTComCam/calib/DM-47447', 'LSSTComCam/calib/DM-47197',
    'LSSTComCam/calib/DM-46360', 'LSSTComCam/calib/DM-47498', 'LSSTComCam/calib/DM-48650',
    'LSSTComCam/calib/DM-48650/unbounded']);
