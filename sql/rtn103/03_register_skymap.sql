-- The sky map.
\echo == Register sky map
CALL register_skymap($SKYMAP);
