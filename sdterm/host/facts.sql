-- Version 2: what a gallery's filter compares, read from the infotext by host/gallery_filter.py.

ALTER TABLE pictures ADD COLUMN sampler TEXT; -- texts are case folded
ALTER TABLE pictures ADD COLUMN schedule TEXT;
ALTER TABLE pictures ADD COLUMN model TEXT;
ALTER TABLE pictures ADD COLUMN hash TEXT;
ALTER TABLE pictures ADD COLUMN version TEXT;
ALTER TABLE pictures ADD COLUMN steps REAL;
ALTER TABLE pictures ADD COLUMN cfg REAL;
ALTER TABLE pictures ADD COLUMN clip REAL;
ALTER TABLE pictures ADD COLUMN denoising REAL;
UPDATE pictures SET
    sampler = fact(infotext, 'sampler'), schedule = fact(infotext, 'schedule'), model = fact(infotext, 'model'),
    hash = fact(infotext, 'hash'), version = fact(infotext, 'version'), steps = fact(infotext, 'steps'),
    cfg = fact(infotext, 'cfg'), clip = fact(infotext, 'clip'), denoising = fact(infotext, 'denoising');
-- All of it, so that counting what a filter lets through reads no infotexts.
CREATE INDEX pictures_filtered ON pictures
    (saved, job, seed, width, height, sampler, schedule, model, hash, version, steps, cfg, clip, denoising);
