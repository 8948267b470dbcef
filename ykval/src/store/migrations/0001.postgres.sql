-- Schema 1. What it means is the same as in 0001.sqlite.sql; all of it is in a schema of PostgreSQL's named ykvald.

-- One row: what this store is.
CREATE TABLE ykvald.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    schema_number bigint NOT NULL,
    -- The id of the store key that everything sealed here is sealed under. The key itself is never here.
    store_key bytea NOT NULL CHECK (octet_length(store_key) = 8)
);

CREATE TABLE ykvald.clients (
    id bigint PRIMARY KEY CHECK (id BETWEEN 0 AND 9999999999),
    name text NOT NULL,
    enabled boolean NOT NULL,
    -- NULL: as the settings say.
    require_signature boolean,
    -- Questions a second. NULL: as the settings say; 0: no limit.
    rate bigint CHECK (rate BETWEEN 0 AND 4294967295),
    -- The DNS name in its certificate.
    certificate_name text,
    sealed_key bytea NOT NULL,
    created bigint NOT NULL
);

-- Room on every page for the next version of its rows, and no index on what changes: an update then touches one page
-- of the table and none of an index (HOT).
CREATE TABLE ykvald.tokens (
    public_id bytea PRIMARY KEY CHECK (octet_length(public_id) <= 16),
    -- Of the key that is here; eight zeros: it is elsewhere, with a key storage module, or was removed.
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 8),
    sealed bytea CHECK (octet_length(sealed) = 63),
    enabled boolean NOT NULL,
    -- Usage counter * 256 + session use, of the key that the fingerprint names. NULL: not used yet.
    position bigint CHECK (position >= 0),
    -- Of the question that brought it there; may be empty.
    nonce text NOT NULL DEFAULT '',
    -- When, in seconds since 1970.
    modified bigint,
    CHECK ((sealed IS NULL) = (fingerprint = '\x0000000000000000'))
) WITH (fillfactor = 80);

-- How far other keys of a token came than the one that is here. Read and written when keys change, by no question.
CREATE TABLE ykvald.retired (
    public_id bytea NOT NULL,
    -- Eight zeros: elsewhere.
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 8),
    position bigint NOT NULL CHECK (position >= 0),
    PRIMARY KEY (public_id, fingerprint)
);
