-- Inspecting and checking the repository.
\echo == Check
ASSERT (SELECT count(*) FROM raw) > 0 AS 'there are raws';
ASSERT (SELECT count(*) FROM raw r LEFT ANTI JOIN exposure e ON r.instrument = e.instrument AND r.exposure = e.exposure) = 0
    AS 'every raw has its exposure';
ASSERT (SELECT count(*) FROM raw r LEFT ANTI JOIN files f ON r.dataset_id = f.dataset_id) = 0 AS 'every raw has its file';
ASSERT (SELECT count(DISTINCT exposure) FROM find_first('raw', 'LSSTComCam/DP1/defaults')) = (SELECT count(*) FROM read_text($GOOD_VISITS))
    AS 'every selected exposure is found through the defaults';
ASSERT (SELECT count(*) FROM collection_tree('LSSTComCam/DP1/defaults')) = 59 AS 'the tree has its lines';
ASSERT (SELECT count(*) FROM find_first('bias', 'LSSTComCam/calib')) = 9 AS 'there is a bias for every detector';
ASSERT (SELECT count(*) FROM visit_definition) >= (SELECT count(*) FROM exposure WHERE observation_type = 'science')
    AS 'every science exposure is in a visit';
SELECT tree, type FROM collection_tree('LSSTComCam/DP1/defaults');
SELECT count(*) AS science_raws FROM raw JOIN exposure USING (instrument, exposure) WHERE observation_type = 'science';
