"""The node as a service: asked over MQTT in JSON or plain text, by whatever runs in a house or on a robot."""
