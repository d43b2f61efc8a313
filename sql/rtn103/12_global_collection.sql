-- The selected exposures as a tagged collection, and one collection to find everything in.
\echo == Create global collection
CREATE EXTERNAL TABLE IF NOT EXISTS good_visits (visit BIGINT)
    STORED AS CSV LOCATION $GOOD_VISITS OPTIONS ('format.has_header' 'false');
CALL register_collection('LSSTComCam/raw/DP1-RC3/DM-49594', 'TAGGED');
SELECT associate('LSSTComCam/raw/DP1-RC3/DM-49594', r.dataset_id) AS associated
    FROM raw r JOIN good_visits g ON r.exposure = g.visit
    WHERE r.run = 'LSSTComCam/raw/all';
CALL chain('LSSTComCam/DP1/defaults', ['LSSTComCam/raw/DP1-RC3/DM-49594', 'refcats']);
