-- The commit and the tag of each profile, as a JSON array; empty for what an older version noted.
ALTER TABLE history ADD COLUMN profiles TEXT NOT NULL DEFAULT '[]';
