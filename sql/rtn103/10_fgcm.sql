-- The look-up table of the FGCM calibration.
\echo == Ingest FGCM calibration
CALL import($DATA || '/ancillary', export_file => $DATA || '/DM-48089-fgcmLookupTable-export.yaml', transfer => 'direct');
CALL chain('LSSTComCam/calib/fgcmcal', ['LSSTComCam/calib/fgcmcal/DM-48089']);
