-- Version 7: a job may wait in its second pass, and may go on from another job's first one.

ALTER TABLE jobs ADD COLUMN pause_pass INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN first_pass TEXT;
