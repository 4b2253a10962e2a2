"""Making a pair of models that people bring, looking at pairs, and what is tried to find the right draft."""
