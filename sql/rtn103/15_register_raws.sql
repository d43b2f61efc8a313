-- Register the raws in Rucio. DATASET is the dataset of Rucio, such as Dataset/LSSTComCam/raw; REGISTER_CONFIG is the
-- configuration of rucio-register.
\echo == Register raws in Rucio
CALL rucio_register($DATASET, (SELECT dataset_id FROM raw), rucio_register_config => $REGISTER_CONFIG);
