"""The node: drafts tokens on the device and commits what the hub verified."""
