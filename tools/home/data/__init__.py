"""The data of the built-in pair: phrases, names and values in TOML, and the dialogues drawn from them."""
