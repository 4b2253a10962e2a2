"""A simulated robot that a node's service drives over MQTT."""
