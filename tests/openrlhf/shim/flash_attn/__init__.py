"""OpenRLHF imports flash_attn, which needs a GPU to be built, and uses it only for packed samples."""

__version__ = "2.8.3"
