-- Schema 2: tokens whose position may be behind what they did. Not NULL: restored. Then it is the time of the backup, in
-- seconds since 1970; 0: nothing is known of the time before. meta may hold the same under the name `restored`: of tokens
-- that are not here.
ALTER TABLE tokens ADD COLUMN restored INTEGER CHECK (restored >= 0);

-- Of restored tokens: the touch that the next one is compared with.
CREATE TABLE touches (
    public_id BLOB NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL CHECK (position >= 0),
    timestamp INTEGER NOT NULL, -- the token's own clock
    at INTEGER NOT NULL, -- when it came, in milliseconds since 1970
    pause INTEGER NOT NULL, -- until the next one has to come, in milliseconds
    failed INTEGER NOT NULL -- tries that could have been a guess
) STRICT, WITHOUT ROWID;
