-- Ingest the raw exposures where they are.
\echo == Ingest raw exposures
CALL ingest_raws($DATA || '/raw/LSSTComCam', transfer => 'direct', fail_fast => true);
