-- The calibrations that are kept as files beside the code of the instrument.
\echo == Add instrument's curated calibrations
CALL write_curated_calibrations('lsst.obs.lsst.LsstComCam', label => 'DM-48650', data => $DATA || '/curated');
