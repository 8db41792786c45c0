"""What is installed: names and where they come from, hooks, and a plugin's code kept at arm's length."""
