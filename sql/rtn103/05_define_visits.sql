-- Visits of the exposures.
\echo == Define visits
CALL define_visits('LSSTComCam', collections => 'LSSTComCam/raw/all');
