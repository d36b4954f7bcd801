-- Version 8: a picture is of a kind. Before, the number -1 was a grid.

CREATE TABLE pictures_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER REFERENCES jobs,
    kind TEXT NOT NULL, -- image, grid, before hires …
    number INTEGER NOT NULL, -- which of the job's images it is, or comes with; 0 for a grid
    path TEXT NOT NULL, -- where it is, or is about to be, written
    digest TEXT NOT NULL, -- SHA-256 of the file; empty for what was found
    saved REAL, -- unset until the file has its name
    missing INTEGER NOT NULL DEFAULT 0,
    seed TEXT, -- digits: image k of a job has the seed plus k, which may have more than 63 bits
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    infotext TEXT NOT NULL,
    sampler TEXT, -- what a filter compares: texts are case folded
    schedule TEXT,
    model TEXT,
    hash TEXT,
    version TEXT,
    steps REAL,
    cfg REAL,
    clip REAL,
    denoising REAL,
    trash TEXT, -- where the file of a deleted picture lies, or is about to lie
    trashed REAL, -- unset while it moves, to there or back
    UNIQUE (job, kind, number)
);
INSERT INTO pictures_new SELECT
    id, job, iif(number = -1, 'grid', 'image'), max(number, 0), path, digest, saved, missing, seed, width, height, infotext,
    sampler, schedule, model, hash, version, steps, cfg, clip, denoising, trash, trashed
FROM pictures;
DROP TABLE pictures;
ALTER TABLE pictures_new RENAME TO pictures;
CREATE INDEX pictures_unsaved ON pictures (job) WHERE saved IS NULL;
CREATE INDEX pictures_by_path ON pictures (path);
CREATE INDEX pictures_moving ON pictures (id) WHERE trash IS NOT NULL AND trashed IS NULL;
-- All of it, so that counting what a filter lets through reads no infotexts.
CREATE INDEX pictures_filtered ON pictures
    (saved, trash, kind, job, seed, width, height, sampler, schedule, model, hash, version, steps, cfg, clip, denoising);
CREATE TRIGGER pictures_indexed AFTER INSERT ON pictures
BEGIN INSERT INTO pictures_text (rowid, infotext) VALUES (new.id, new.infotext); END;
CREATE TRIGGER pictures_forgotten AFTER DELETE ON pictures
BEGIN INSERT INTO pictures_text (pictures_text, rowid, infotext) VALUES ('delete', old.id, old.infotext); END;
