"""A real Home Assistant Core with demo entities, to try a node against."""
