"""What drafts: an ONNX model with its K/V cache, n-grams of the text, and how much their confidence is worth."""
