-- Version 9: a job may be for one device alone, and a device may take no new jobs.

ALTER TABLE jobs ADD COLUMN device TEXT;
ALTER TABLE jobs ADD COLUMN model TEXT NOT NULL DEFAULT ''; -- the name of its checkpoint's file, as far as it is known
CREATE TABLE drained (device TEXT PRIMARY KEY) WITHOUT ROWID;
