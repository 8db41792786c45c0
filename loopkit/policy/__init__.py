"""The parts every trainer on torch shares: load, decode, score, save. The only core package that imports torch."""
