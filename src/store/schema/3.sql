-- What was last said of each (kind, key), so that nothing is said twice. The newest rows are kept.
CREATE TABLE said (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    payload  BLOB    NOT NULL,
    at       INTEGER NOT NULL,
    UNIQUE (kind, key)
) STRICT;
