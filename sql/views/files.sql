-- The files of datasets. A file that contains several datasets has one row for each dataset; a dataset in several files has one row for each component.
-- column dataset_type: name of the dataset type
-- column path: path below the root of the datastore, or the URI of a file outside the datastore
SELECT f.dataset_id, t.name AS dataset_type,
       CASE WHEN f.component = '__NULL_STRING__' THEN NULL ELSE f.component END AS component,
       f.path, CASE WHEN f.file_size < 0 THEN NULL ELSE f.file_size END AS file_size, f.checksum, f.formatter, f.storage_class
FROM registry.file_datastore_records f
JOIN registry.dataset d ON d.id = f.dataset_id
JOIN registry.dataset_type t ON t.id = d.dataset_type_id
