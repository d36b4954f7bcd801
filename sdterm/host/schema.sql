-- Version 1. docs/architecture.md draws the states and transitions; a test compares them with this file.

CREATE TABLE states (state TEXT PRIMARY KEY, jobs INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO states (state) VALUES
    ('queued'), ('running'), ('paused'), ('waiting'), ('done'), ('failed'), ('cancelled');

CREATE TABLE transitions (old TEXT REFERENCES states, new TEXT REFERENCES states, PRIMARY KEY (old, new)) WITHOUT ROWID;
INSERT INTO transitions VALUES
    ('queued', 'running'), ('queued', 'paused'), ('queued', 'cancelled'),
    ('running', 'done'), ('running', 'failed'), ('running', 'cancelled'), ('running', 'paused'),
    ('running', 'waiting'),
    ('running', 'queued'), -- its worker died, or the host ended
    ('paused', 'queued'), ('paused', 'cancelled'),
    ('waiting', 'queued'), ('waiting', 'cancelled'), ('waiting', 'paused'),
    ('failed', 'queued'); -- tried again

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL REFERENCES states,
    position REAL NOT NULL, -- in the queue, the smallest first
    wish TEXT CHECK (wish IN ('cancel', 'pause', 'again')), -- what is to become of it once its worker has stopped
    request TEXT NOT NULL,
    saving TEXT NOT NULL,
    prompt TEXT NOT NULL, -- its beginning, for lists
    images INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    first_event INTEGER, -- whoever has all events from this one on has the whole job
    started TEXT, -- the event, once there is a plan
    plan TEXT,
    generation TEXT NOT NULL DEFAULT '[]',
    left_out TEXT NOT NULL DEFAULT '[]',
    pause_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    created REAL NOT NULL,
    began REAL,
    ended REAL
);
CREATE INDEX jobs_in_order ON jobs (state, position);
CREATE INDEX jobs_by_state ON jobs (state, id);

CREATE TRIGGER jobs_start BEFORE INSERT ON jobs WHEN new.state NOT IN ('queued', 'paused')
BEGIN SELECT RAISE(ABORT, 'a job starts queued or paused'); END;
CREATE TRIGGER jobs_transition BEFORE UPDATE OF state ON jobs
WHEN old.state <> new.state AND NOT EXISTS (SELECT 1 FROM transitions WHERE old = old.state AND new = new.state)
BEGIN SELECT RAISE(ABORT, 'no such transition'); END;
CREATE TRIGGER jobs_counted AFTER INSERT ON jobs
BEGIN UPDATE states SET jobs = jobs + 1 WHERE state = new.state; END;
CREATE TRIGGER jobs_recounted AFTER UPDATE OF state ON jobs WHEN old.state <> new.state BEGIN
    UPDATE states SET jobs = jobs - 1 WHERE state = old.state;
    UPDATE states SET jobs = jobs + 1 WHERE state = new.state;
END;

CREATE TABLE queue (paused INTEGER NOT NULL);
INSERT INTO queue VALUES (0);

CREATE TABLE pictures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL REFERENCES jobs,
    number INTEGER NOT NULL, -- of the job's images; -1 is the grid
    path TEXT NOT NULL, -- where it is, or is about to be, written
    digest TEXT NOT NULL, -- SHA-256 of the file
    saved REAL, -- unset until the file has its name
    missing INTEGER NOT NULL DEFAULT 0,
    seed TEXT, -- digits: image k of a job has the seed plus k, which may have more than 63 bits
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    infotext TEXT NOT NULL,
    UNIQUE (job, number)
);
CREATE INDEX pictures_unsaved ON pictures (job) WHERE saved IS NULL;
CREATE VIRTUAL TABLE pictures_text USING fts5 (infotext, content='pictures', content_rowid='id');
CREATE TRIGGER pictures_indexed AFTER INSERT ON pictures
BEGIN INSERT INTO pictures_text (rowid, infotext) VALUES (new.id, new.infotext); END;
CREATE TRIGGER pictures_forgotten AFTER DELETE ON pictures
BEGIN INSERT INTO pictures_text (pictures_text, rowid, infotext) VALUES ('delete', old.id, old.infotext); END;

CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    job INTEGER,
    event TEXT NOT NULL
);
CREATE INDEX events_by_job ON events (job, number);
