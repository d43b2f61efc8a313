-- After files.py: the tagged collection, with one dataset too many taken out again.
SELECT associate('u/golden/tagged', dataset_id) AS associated FROM raw WHERE exposure = 2024112000123 AND detector IN (0, 3, 4);
CALL associate('u/golden/tagged', (SELECT dataset_id FROM calexp_meta WHERE detector = 0 AND run = 'u/golden/run1'));
CALL disassociate('u/golden/tagged', (SELECT dataset_id FROM raw WHERE detector = 3));
