"""Who may use the broker: users and their roles, the broker's files, and the bundles that devices get."""
