"""PostgreSQL: the users and authorisations of the hub's tables, over a psycopg pool.

`people.py` has the port, `connections.py` lends connections, `schema.py` makes the tables where there is no hub,
`troubles.py` turns psycopg's exceptions into ours, and SQL is in `sql/`.
"""
