"""How people reach a node: the chat in a terminal, one request for scripts."""
