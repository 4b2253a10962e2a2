"""The way to the hubs: which there are, a session with one of them, messages out and in."""
