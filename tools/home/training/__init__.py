"""The training of the built-in pair: models, batches, recipes, and runs that count their compute."""
