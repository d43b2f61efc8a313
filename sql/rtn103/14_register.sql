-- Register a collection of calibrations in Rucio, close the dataset, and replicate it to the other site.
-- DATASET_TYPE and COLLECTION select the datasets; DATASET is the dataset of Rucio, such as
-- Dataset/LSSTComCam/bias/DM-48520; REGISTER_CONFIG is the configuration of rucio-register; RSES is the RSE expression of
-- both sites, such as SLAC_BUTLER_DISK|IN2P3_RAW_DISK.
\echo == Register calibrations in Rucio
CALL rucio_register($DATASET, (SELECT dataset_id FROM members($DATASET_TYPE, $COLLECTION)),
                    rucio_register_config => $REGISTER_CONFIG);
CALL rucio_close('ancillary:' || $DATASET);
CALL rucio_add_rule('ancillary:' || $DATASET, $RSES, copies => 2);
CALL rucio_wait('ancillary:' || $DATASET, timeout => 86400);
ASSERT NOT EXISTS (SELECT * FROM members($DATASET_TYPE, $COLLECTION) d
                   WHERE d.dataset_id NOT IN (SELECT dataset_id FROM rucio_metadata('ancillary:' || $DATASET)))
    AS 'all datasets are in Rucio';
