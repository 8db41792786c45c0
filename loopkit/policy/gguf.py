"""A GGUF file as a model that can be trained: dequantised once, into a directory that runs and forks share.

transformers reads the file; what this adds is that the copy can be saved (transformers refuses to save what it takes
for quantised), that a head which is the embedding in another quantisation is one tensor again, and a record of where
the weights come from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopkit.contracts import PolicyRef
from loopkit.errors import UsageError, require
from loopkit.experiment.config import RunSpec
from loopkit.experiment.manifest import SOURCE
from loopkit.registry.plugins import Plugins
from loopkit.system.files import to_json, write_whole
from loopkit.system.notices import notice

TIED_BELOW = 0.1
"""Relative distance of head and embedding below which they were one tensor before they were quantised apart."""
MAGIC = b"GGUF"
STAGES = 4
"""Of a conversion: hash, weights, tokenizer, saved."""


def start_from(argument: str, spec: RunSpec, plugins: Plugins, progress: Callable[[int, int], None]) -> PolicyRef:
    """``--model FILE.gguf`` (or ``gguf:FILE``): the directory of its converted copy, made where there is none."""
    return PolicyRef(str(converted(Path(argument), progress)))


def converted(file: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """The Hugging Face directory made of a GGUF file, in the cache, by the file's SHA-256.

    Raises UsageError where there is no such file, or it holds no model that transformers can read.
    """
    from loopkit.system.files import cache_dir

    if not file.is_file():
        raise UsageError(f"--model {str(file)!r}: there is no such file. `loopkit models` lists what is here.")
    with file.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise UsageError(f"--model {str(file)!r} is not a GGUF file. Give one, or a Hugging Face directory or id.")
    progress(0, STAGES)
    sha256 = sha256_of(file)
    progress(1, STAGES)
    target = cache_dir() / "models" / f"{file.stem}-{sha256[:16]}"
    if not (target / SOURCE).is_file():
        require("gguf", "a GGUF file")
        notice("GGUF file converted, once", file=str(file), into=str(target), takes="a minute or more")
        _convert(file, sha256, target, progress)
    progress(STAGES, STAGES)
    return target


def sha256_of(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _convert(file: Path, sha256: str, target: Path, progress: Callable[[int, int], None]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    directory, name = str(file.parent), file.name
    options = {"gguf_file": name, "local_files_only": True, "trust_remote_code": False}
    try:
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, **options)
        progress(2, STAGES)
        tokenizer = AutoTokenizer.from_pretrained(directory, **options)
        progress(3, STAGES)
    except Exception as error:  # gguf's own errors, and transformers' for an architecture it cannot read
        raise UsageError(
            f"--model {str(file)!r} could not be read: {str(error).strip().splitlines()[0]} "
            "Give a GGUF file of an architecture that transformers reads, or a Hugging Face directory."
        ) from error
    apart = tie(model)
    _saveable(model)
    for how in ("is_local", "local_files_only", "gguf_file"):  # how it was loaded is not to be saved with it
        tokenizer.init_kwargs.pop(how, None)
    temporary = target.parent / f".tmp-{target.name}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        record = {
            "file": name, "sha256": sha256, "bytes": file.stat().st_size,
            "parameters": sum(p.numel() for p in model.parameters()), "head_from_embedding": apart, **_said(file),
        }  # fmt: skip
        write_whole(temporary / SOURCE, to_json(record))
        if not (target / SOURCE).is_file():  # else another command was quicker, and its copy is the same
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def tie(model: Any) -> float | None:
    """Make head and embedding one tensor again where a file holds one in two quantisations; their relative distance.

    The head's values are kept: quantisers give the head more bits. None where they are one tensor already; where they
    are farther apart than ``TIED_BELOW``, they are two tensors and stay so.
    """
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    if embedding.data_ptr() == head.data_ptr():
        return None
    if embedding.shape != head.shape:
        return None
    apart = float((embedding.detach() - head.detach()).norm() / head.detach().norm())
    if apart < TIED_BELOW:
        embedding.data.copy_(head.data)
        model.get_output_embeddings().weight = embedding
        model.config.tie_word_embeddings = True
    return apart


def _saveable(model: Any) -> None:
    """Take off the marks by which transformers refuses to save, though the weights are plain fp32."""
    model.hf_quantizer = None
    model.is_quantized = False
    for owner, mark in ((model, "quantization_method"), (model.config, "quantization_config")):
        if hasattr(owner, mark):
            delattr(owner, mark)


def _said(file: Path) -> dict[str, str | None]:
    """What the file says of itself: name, licence and quantisation of most of its tensors."""
    from collections import Counter

    from gguf import GGUFReader

    reader = GGUFReader(file)

    def text(key: str) -> str | None:
        field = reader.get_field(key)
        return None if field is None else str(field.contents())

    kinds = Counter(t.tensor_type.name for t in reader.tensors if t.tensor_type.name not in ("F32", "F16", "BF16"))
    return {
        "name": text("general.name"),
        "licence": text("general.license"),
        "quantisation": ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items())) or "none",
    }
