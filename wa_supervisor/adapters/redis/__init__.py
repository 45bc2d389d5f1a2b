"""The conversation with Redis or Valkey: the wish, the messages, the status, the commands, the dead letters.

`store.open_store` gives everything that a daemon needs, over one connection for calls and one for each listening;
`desk.OperatorDesk` is the command line's side. Nothing is imported here, so that who needs one does not load the other.

Only commands of Redis 7.0 are used, on a single server: a script touches keys that a cluster would keep apart.
"""
