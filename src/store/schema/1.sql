-- Times are microseconds since 1970-01-01T00:00:00Z. Digests and commits are lower-case hexadecimal.
CREATE TABLE fleets (
    fleet  TEXT    NOT NULL PRIMARY KEY,
    format INTEGER NOT NULL,
    state  BLOB    NOT NULL
) STRICT;

CREATE TABLE heads (
    source   TEXT NOT NULL,
    branch   TEXT NOT NULL,
    observed TEXT,
    accepted TEXT,
    hold     TEXT,
    PRIMARY KEY (source, branch)
) STRICT, WITHOUT ROWID;

CREATE TABLE tags (
    source      TEXT NOT NULL,
    name        TEXT NOT NULL,
    commit_id   TEXT NOT NULL,
    PRIMARY KEY (source, name)
) STRICT, WITHOUT ROWID;

-- `object` is the JSON of an object's key, or empty.
CREATE TABLE approvals (
    fleet   TEXT    NOT NULL,
    target  TEXT    NOT NULL,
    release TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    by      TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (fleet, target, release, kind, object)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledgers (
    target     TEXT    NOT NULL,
    fleet      TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    identity   TEXT    NOT NULL,
    PRIMARY KEY (target, fleet)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an id is never used twice, so an answer about a replaced report can't meet another.
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    payload  BLOB    NOT NULL,
    attempts INTEGER NOT NULL,
    next_at  INTEGER NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE INDEX outbox_due ON outbox (next_at);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    via     TEXT    NOT NULL,
    what    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    why     TEXT    NOT NULL
) STRICT;

CREATE TABLE history (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    target    TEXT    NOT NULL,
    fleet     TEXT    NOT NULL,
    release   TEXT    NOT NULL,
    control   TEXT    NOT NULL,
    outcome   TEXT    NOT NULL
) STRICT;
CREATE INDEX history_of ON history (target, fleet, id);
