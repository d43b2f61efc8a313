-- Visits for analysis: all columns of `visit`, the band, and the times in UTC.
-- column begin_utc: start of the visit, UTC
-- column end_utc: end of the visit, UTC
SELECT v.*, f.band, utc(v.timespan_begin) AS begin_utc, utc(v.timespan_end) AS end_utc
FROM visit v
JOIN physical_filter f ON f.instrument = v.instrument AND f.physical_filter = v.physical_filter
