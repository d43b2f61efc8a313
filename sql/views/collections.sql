-- Collections: names under which datasets are found.
-- column name: name of the collection
-- column type: RUN, TAGGED, CHAINED or CALIBRATION
SELECT name,
       CASE type WHEN 1 THEN 'RUN' WHEN 2 THEN 'TAGGED' WHEN 3 THEN 'CHAINED' WHEN 4 THEN 'CALIBRATION' END AS type,
       doc
FROM registry.collection
