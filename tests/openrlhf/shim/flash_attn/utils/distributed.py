def all_gather(*args, **kwargs):
    raise NotImplementedError("ring attention needs the real flash_attn")
