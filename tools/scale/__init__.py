"""How many devices hubs can serve: a simulation from measured costs, and the real hub that it is checked against."""
