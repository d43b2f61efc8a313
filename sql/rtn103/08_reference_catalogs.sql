-- The two versions of the reference catalogue, and one chain to find them in.
\echo == Ingest reference catalogs
CALL register_dataset_type('the_monster_20240904', 'SimpleCatalog', ['htm7']);
CALL ingest_files('the_monster_20240904', 'refcats/DM-46370/the_monster_20240904',
                  (SELECT filename, htm7 FROM read_ecsv($DATA || '/the_monster_20240904.ecsv')),
                  prefix => $DATA || '/raw/refcats/the_monster_20240904/', transfer => 'direct');
CALL register_dataset_type('the_monster_20250219', 'SimpleCatalog', ['htm7']);
CALL ingest_files('the_monster_20250219', 'refcats/DM-49042/the_monster_20250219',
                  (SELECT filename, htm7 FROM read_ecsv($DATA || '/the_monster_20250219.ecsv')),
                  prefix => $DATA || '/raw/refcats/the_monster_20250219/', transfer => 'direct');
CALL chain('refcats', ['refcats/DM-46370/the_monster_20240904', 'refcats/DM-49042/the_monster_20250219']);
