"""What runs inside: these modules are handed to the zygote as text and import nothing but the standard library.

They are also importable outside, for what both sides share (``codec``) and for the tests.
"""
