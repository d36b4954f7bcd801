-- Version 10: a job that was asked for over HTTP may be asked for again, by a key that its client chose.

CREATE TABLE deliveries (
    job INTEGER PRIMARY KEY REFERENCES jobs,
    key TEXT UNIQUE, -- none where a client only did not wait
    asked TEXT NOT NULL, -- SHA-256 of what was asked: the same key for something else is a mistake
    folder TEXT NOT NULL -- a name in the run folder's `answers`
);
