"""What drafts: an ONNX model with its K/V cache, n-grams of the text, and how much their confidence is worth."""

import os

# ONNX Runtime from 1.29 on writes a device id into the user's cache and reports to its maker as soon as it is imported;
# its function that turns telemetry off comes too late for the id. Older versions don't look at the variable.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
