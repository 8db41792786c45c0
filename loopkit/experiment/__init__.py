"""Configuration, resolved specs, and run directories with their manifests."""
