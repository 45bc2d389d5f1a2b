-- name: get_or_create
-- Finds a WhatsApp user or creates one, with the answer for an agent, in one statement and so in one round trip.
--
-- A row comes back unless another transaction stored the same person, or somebody with the same phone, at the same
-- moment: then `created` waits for it, finds the conflict, and stores nothing. The next try sees what the other one
-- stored. ON CONFLICT names no index because either unique index may be the one.
--
-- No foreign key is violated by `granted` before `created` is visible: they are checked when the statement ends.
WITH known AS (
    SELECT id, first_name, last_name, username, phone_number
    FROM users
    WHERE platform = 'whatsapp' AND platform_user_id = %(platform_user_id)s::text
),
named AS (
    -- Only a missing name is filled in: a stored one may have been put right by somebody.
    UPDATE users
    SET first_name = %(first_name)s::text,
        last_name = %(last_name)s::text,
        username = coalesce(nullif(users.username, ''), %(first_name)s::text),
        updated_at = now()
    FROM known
    WHERE users.id = known.id AND coalesce(known.first_name, '') = '' AND %(first_name)s::text IS NOT NULL
    RETURNING users.id, users.first_name, users.last_name, users.username
),
created AS (
    INSERT INTO users
        (platform, platform_user_id, phone_number, first_name, last_name, username, created_at, updated_at)
    SELECT
        'whatsapp',
        %(platform_user_id)s::text,
        CASE WHEN EXISTS (SELECT FROM users WHERE phone_number = %(phone)s::text) THEN NULL ELSE %(phone)s::text END,
        %(first_name)s::text,
        %(last_name)s::text,
        %(first_name)s::text,
        now(),
        now()
    WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT DO NOTHING
    RETURNING id, first_name, last_name, username, phone_number
),
granted AS (
    INSERT INTO agent_user_authorizations (agent_id, user_id, is_authorized, created_at, updated_at)
    SELECT %(agent_id)s::text, id, true, now(), now()
    FROM created
    WHERE %(grants)s::boolean
    RETURNING is_authorized
)
SELECT id, first_name, last_name, username, phone_number, EXISTS (SELECT FROM granted) AS is_authorized
FROM created
UNION ALL
SELECT
    known.id,
    coalesce(named.first_name, known.first_name),
    coalesce(named.last_name, known.last_name),
    coalesce(named.username, known.username),
    known.phone_number,
    coalesce(answer.is_authorized, false)
FROM known
LEFT JOIN named ON named.id = known.id
LEFT JOIN agent_user_authorizations AS answer
    ON answer.user_id = known.id AND answer.agent_id = %(agent_id)s::text
