"""The hub: verifies the drafts of many sessions in one batch with the target model."""

import os

# Intel's MKL, which multiplies float32 for torch on x86, otherwise sums in an order that depends on the number of rows.
# It reads this before its first product.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
