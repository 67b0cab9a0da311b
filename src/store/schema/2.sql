-- What people approve is part of the fleet's state.
DROP TABLE approvals;

-- What became of the command; empty in older entries.
ALTER TABLE audit ADD COLUMN outcome TEXT NOT NULL DEFAULT '';

-- One row for each commit that a fleet's rollout was about: what was said of it last.
CREATE TABLE rollouts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    fleet       TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    commit_id   TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    description TEXT    NOT NULL,
    began       INTEGER NOT NULL,
    changed     INTEGER NOT NULL,
    UNIQUE (fleet, source, commit_id)
) STRICT;
