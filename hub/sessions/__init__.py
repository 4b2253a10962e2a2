"""Sessions: their committed ids and rounds, who may open one, and the pages that each holds."""
