-- The procedure of technote RTN-103, in its order.
--
--   butlersql REPO -f sql/rtn103/campaign.sql -v DATA=… -v SEED=… -v GOOD_VISITS=… -v SKYMAP=…
--
-- A run that was stopped is finished by running it again; a second full run changes nothing.
\i 01_create_repository.sql
\i 02_register_instrument.sql
\i 03_register_skymap.sql
\i 04_ingest_raws.sql
\i 05_define_visits.sql
\i 06_curated_calibrations.sql
\i 07_calibrations.sql
\i 08_reference_catalogs.sql
\i 09_pretrained_models.sql
\i 10_fgcm.sql
\i 11_solar_system_objects.sql
\i 12_global_collection.sql
\i 13_check.sql
