"""A draft from nothing: layers of the target, trained on what the target says and on how sure it is of it."""
