-- Exposures for analysis: all columns of `exposure`, the band, and the times in UTC.
-- column begin_utc: start of the exposure, UTC
-- column end_utc: end of the exposure, UTC
SELECT e.*, f.band, utc(e.timespan_begin) AS begin_utc, utc(e.timespan_end) AS end_utc
FROM exposure e
JOIN physical_filter f ON f.instrument = e.instrument AND f.physical_filter = e.physical_filter
