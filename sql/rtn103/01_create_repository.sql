-- Create an empty repository. The seed says where the registry is; override keeps its root and database.
\echo == Create an empty repository
CALL create_repository(seed_config => $SEED, override => true);
