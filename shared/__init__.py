"""What nodes and hubs both speak: messages, topics, the MQTT client, the sampling rule, pairs and settings."""
