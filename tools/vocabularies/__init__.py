"""What it costs to draft for a target of another vocabulary, with two real tokenizers."""
