from einops import rearrange


def needs_a_gpu(*args, **kwargs):
    raise NotImplementedError("packed samples need the real flash_attn")


index_first_axis = pad_input = unpad_input = needs_a_gpu
__all__ = ["index_first_axis", "pad_input", "rearrange", "unpad_input"]
