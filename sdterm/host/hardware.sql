-- Version 11: a job goes on with hardware like that on which it was begun.

ALTER TABLE jobs ADD COLUMN hardware TEXT NOT NULL DEFAULT '';
