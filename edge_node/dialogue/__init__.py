"""A chat as text: turns, the tokenizer with the chat template, and the calls in an answer."""
