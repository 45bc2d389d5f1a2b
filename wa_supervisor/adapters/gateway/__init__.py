"""HTTP to wppconnect-servers: a client for what the engine asks, over a transport that is honest about sending."""
