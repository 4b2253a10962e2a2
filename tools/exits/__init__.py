"""Exit heads: trained on a frozen target, judged by how often they say what it says."""
