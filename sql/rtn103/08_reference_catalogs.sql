-- The dataset types and collections of the reference catalogues; their files are not ingested here yet.
\echo == Reference catalogs
CALL register_dataset_type('the_monster_20240904', 'SimpleCatalog', ['htm7']);
CALL register_dataset_type('the_monster_20250219', 'SimpleCatalog', ['htm7']);
CALL register_collection('refcats/DM-46370/the_monster_20240904', 'RUN');
CALL register_collection('refcats/DM-49042/the_monster_20250219', 'RUN');
CALL chain('refcats', ['refcats/DM-46370/the_monster_20240904', 'refcats/DM-49042/the_monster_20250219']);
