-- Build a repository from a dataset of Rucio. DID is the dataset, such as raw:Dataset/LSSTComCam/raw; PREFIX replaces the
-- start of the URIs of the files: davs://door.example:2880/pnfs/=/pnfs/
\echo == Build a repository from Rucio
CALL create_repository();
CALL ingest_rucio($DID, prefix => $PREFIX);
CALL define_visits('LSSTComCam');
ASSERT (SELECT count(*) FROM raw) = (SELECT count(*) FROM rucio_contents($DID)) AS 'all files are ingested';
