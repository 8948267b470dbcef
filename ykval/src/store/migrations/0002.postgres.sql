-- Schema 2. What it means is the same as in 0002.sqlite.sql.

ALTER TABLE ykvald.tokens ADD COLUMN restored bigint CHECK (restored >= 0);

-- What SQLite has in meta: of tokens that are not here.
ALTER TABLE ykvald.meta ADD COLUMN restored bigint CHECK (restored >= 0);

CREATE TABLE ykvald.touches (
    public_id bytea PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0),
    timestamp bigint NOT NULL,
    at bigint NOT NULL,
    pause bigint NOT NULL,
    failed bigint NOT NULL
);
