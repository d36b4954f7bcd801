-- Version 6: which inputs a job names. They stay while it may go on, or a picture of it is there.

CREATE TABLE job_inputs (
    job INTEGER NOT NULL REFERENCES jobs,
    digest TEXT NOT NULL,
    PRIMARY KEY (job, digest)
) WITHOUT ROWID;
