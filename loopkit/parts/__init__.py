"""What games and arms are made of: channels, detectors, data, judges."""
