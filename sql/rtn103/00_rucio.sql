-- Bring the inputs to this site: a rule for each dataset of Rucio, then wait for the files.
-- RSE is the storage element of the site.
\echo == Replicate the inputs with Rucio
SELECT did, rse_expression, state, locks_ok, locks_replicating, locks_stuck, error
FROM rucio_rules() WHERE rse_expression = $RSE;

CALL rucio_add_rule('ancillary:Dataset/LSSTComCam/dstyps/pretrained-models', $RSE);
CALL rucio_add_rule('ancillary:Dataset/LSSTComCam/dstyps/fgcmLookUpTable', $RSE);
CALL rucio_add_rule('ancillary:Dataset/LSSTComCam/dstyps/DM-49977', $RSE);

CALL rucio_wait('ancillary:Dataset/LSSTComCam/dstyps/pretrained-models');
CALL rucio_wait('ancillary:Dataset/LSSTComCam/dstyps/fgcmLookUpTable');
CALL rucio_wait('ancillary:Dataset/LSSTComCam/dstyps/DM-49977');
