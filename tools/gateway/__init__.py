"""The node's HTTP server, tried with the clients that people have."""
