-- Version 5: a deleted picture is out of the gallery, and its file lies in a folder .trash beside where it was.

ALTER TABLE pictures ADD COLUMN trash TEXT; -- where the file of a deleted picture lies, or is about to lie
ALTER TABLE pictures ADD COLUMN trashed REAL; -- unset while it moves, to there or back
CREATE INDEX pictures_moving ON pictures (id) WHERE trash IS NOT NULL AND trashed IS NULL;
DROP INDEX pictures_filtered;
CREATE INDEX pictures_filtered ON pictures
    (saved, trash, job, seed, width, height, sampler, schedule, model, hash, version, steps, cfg, clip, denoising);
