"""Home Assistant: what is in the home, calls carried out there, and this node as its conversation agent."""
