-- name: create_tables
-- What a hub has already. One message of several statements is one transaction, so the lock lasts until all are done:
-- IF NOT EXISTS alone does not protect two daemons that create the same table at the same moment. The number is
-- "wa-super" in ASCII.
SELECT pg_advisory_xact_lock(x'77612d7375706572'::bigint);

CREATE TABLE IF NOT EXISTS users (
    id serial PRIMARY KEY,
    platform text NOT NULL,
    platform_user_id text NOT NULL,
    phone_number text UNIQUE,
    first_name text,
    last_name text,
    username text,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    UNIQUE (platform, platform_user_id)
);

CREATE TABLE IF NOT EXISTS agent_user_authorizations (
    id serial PRIMARY KEY,
    agent_id text NOT NULL,
    user_id integer REFERENCES users ON DELETE CASCADE,
    is_authorized boolean NOT NULL DEFAULT false,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    UNIQUE (agent_id, user_id)
);

-- name: missing
-- Lists what the queries need and the database does not offer, as sentences; no row when all is there.
WITH needed (name, columns, privileges) AS (
    VALUES
        (
            'users',
            ARRAY[
                'id', 'platform', 'platform_user_id', 'phone_number', 'first_name', 'last_name', 'username',
                'created_at', 'updated_at'
            ],
            ARRAY['SELECT', 'INSERT', 'UPDATE']
        ),
        (
            'agent_user_authorizations',
            ARRAY['agent_id', 'user_id', 'is_authorized', 'created_at', 'updated_at'],
            ARRAY['SELECT', 'INSERT']
        )
)
SELECT format('there is no table %s', name)
FROM needed
WHERE to_regclass(name) IS NULL
UNION ALL
SELECT format('table %s has no column %s', name, wanted)
FROM needed CROSS JOIN unnest(columns) AS wanted
WHERE to_regclass(name) IS NOT NULL
    AND NOT EXISTS (
        SELECT
        FROM pg_attribute
        WHERE attrelid = to_regclass(name) AND attname = wanted AND attnum > 0 AND NOT attisdropped
    )
UNION ALL
SELECT format('role %s may not %s in table %s', current_user, wanted, name)
FROM needed CROSS JOIN unnest(privileges) AS wanted
WHERE to_regclass(name) IS NOT NULL AND NOT has_any_column_privilege(to_regclass(name), wanted)
