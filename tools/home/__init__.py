"""The built-in pair `home`: its data, its training and its export."""
