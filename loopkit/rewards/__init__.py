"""A user's own reward: called as its library would call it, whichever that is, on rows as they are."""
