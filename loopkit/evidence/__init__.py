"""From run directories to results."""
