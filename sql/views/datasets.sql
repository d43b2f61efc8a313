-- All datasets, each once.
-- column dataset_type: name of the dataset type
SELECT d.id AS dataset_id, t.name AS dataset_type, r.name AS run, d.ingest_date
FROM registry.dataset d
JOIN registry.dataset_type t ON t.id = d.dataset_type_id
JOIN registry.collection r ON r.collection_id = d.run_id
