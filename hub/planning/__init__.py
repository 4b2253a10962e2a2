"""A draft made to measure for a device: bits of each layer, head and embedding, by what the device can do."""
