-- Register the instrument.
\echo == Register instrument
CALL register_instrument('lsst.obs.lsst.LsstComCam');
