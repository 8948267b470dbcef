-- A store of ykvald, schema 1. Everything secret is sealed under store.key, which is not here.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE clients (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id >= 0),
    name TEXT NOT NULL,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    require_signature INTEGER CHECK (require_signature IN (0, 1)), -- NULL: as the settings say
    rate INTEGER CHECK (rate >= 0), -- NULL: as the settings say; 0: no limit
    certificate_name TEXT,
    sealed_key BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT;

-- One row a token. A verification changes position, nonce and modified, and nothing else.
CREATE TABLE tokens (
    public_id BLOB NOT NULL PRIMARY KEY CHECK (length(public_id) <= 16),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 8), -- of the key; zeros: it is not here
    sealed BLOB, -- the credential; NULL: it is not here
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    position INTEGER CHECK (position >= 0), -- how far it has come with this key; NULL: not used yet
    nonce TEXT NOT NULL, -- of the question that brought it there; may be empty
    modified INTEGER, -- when that was, in seconds since 1970
    CHECK ((sealed IS NULL) = (fingerprint = zeroblob(8)))
) STRICT, WITHOUT ROWID; -- one tree, where an index of its own would be a second to walk

-- How far a token had come with keys that are not here now; under zeros, without one. Changed where keys change, and
-- never by a verification.
CREATE TABLE retired (
    public_id BLOB NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 8),
    position INTEGER NOT NULL CHECK (position >= 0),
    PRIMARY KEY (public_id, fingerprint)
) STRICT, WITHOUT ROWID;
