"""What the command line and a person in a notebook both call: run, read, evaluate, study."""
