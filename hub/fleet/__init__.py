"""A fleet seen from outside: hubs and nodes by what they publish of themselves."""
