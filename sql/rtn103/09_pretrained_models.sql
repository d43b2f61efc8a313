-- The models trained before.
\echo == Ingest pretrained-models catalog
CALL import($DATA || '/ancillary', export_file => $DATA || '/pretrained-models-export.yaml', transfer => 'direct');
CALL chain('pretrained_models', ['pretrained_models/tac_cnn_comcam_2025-02-18']);
