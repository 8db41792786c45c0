"""Files that are whole or not there, notices, and how processes end."""
