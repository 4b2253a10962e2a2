"""Pairs and drafts that come from a hub: what is offered, which draft suits this device, fetching it, and the switch to it."""
