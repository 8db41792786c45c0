"""What was asked for, and what it is on disk: configuration, resolved specs, run directories, manifests."""
