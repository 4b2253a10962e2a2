"""What each credential may read and write, tried on a real broker."""
