"""K/V in pages: who holds which page, and the tensors behind them."""
