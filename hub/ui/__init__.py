"""The fleet as a web page, and a chat with its nodes for who has the password."""
