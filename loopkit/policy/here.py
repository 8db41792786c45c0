"""The models on this machine, looked at without loading one; and those that are known, by hub id and revision."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopkit.experiment.manifest import SOURCE
from loopkit.policy.fits import Shape

DEEPEST = 3
"""Levels of folders that are looked through below a given one."""
MOST_HEADER = 100 << 20
"""Bytes of a safetensors header that are read."""


@dataclass(frozen=True)
class Known:
    """A model of a hub, as its pages and the users of its files state it; loopkit has downloaded none of them."""

    id: str
    revision: str
    parameters: int
    bytes: int
    template: bool
    licence: str
    sha256: str | None
    """Of ``model.safetensors``; None: not known here."""


KNOWN = (
    Known("HuggingFaceTB/SmolLM2-135M-Instruct", "12fd25f77366fa6b3b4b768ec3050bf629380bac", 134_515_008, 269_060_552,
          True, "apache-2.0", "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c"),
    Known("Qwen/Qwen2.5-Coder-0.5B-Instruct", "ea3f2471cf1b1f0db85067f1ef93848e38e88c25", 494_032_768, 988_097_824,
          True, "apache-2.0", None),
    Known("Qwen/Qwen2.5-0.5B-Instruct", "7ae557604adf67be50417f59c2c2f167def9a775", 494_032_768, 988_097_824,
          True, "apache-2.0", None),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A model that lies here. None: it does not say."""

    path: str
    kind: str
    """"directory", "gguf" or "hub" (the hub's cache)."""
    name: str
    parameters: int | None
    bytes: int
    template: bool | None
    licence: str | None
    sha256: str | None
    """Of its one file of weights, where the cache's own names or a record of ours tell it."""
    shape: Shape | None = None


def hub_cache() -> Path:
    """Where the hub's client keeps what it downloaded."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub"))


def everywhere(directories: Iterable[Path]) -> list[Found]:
    """Models in the hub's cache, in loopkit's own and in these directories, by path; nothing is downloaded."""
    from loopkit.system.files import cache_dir

    out: dict[str, Found] = {}
    for snapshot in sorted(hub_cache().glob("models--*/snapshots/*")):
        if (one := directory(snapshot, "hub")) is not None:
            out[one.path] = one
    for root in [cache_dir() / "models", *directories]:
        for path in _below(root, DEEPEST):
            one = gguf(path) if path.is_file() else directory(path, "directory")
            if one is not None:
                out[one.path] = one
    return list(out.values())


def _below(root: Path, depth: int) -> Iterator[Path]:
    """GGUF files, and directories with a config.json, in or below a directory. Other files are skipped."""
    if (root.is_file() and root.suffix == ".gguf") or (root / "config.json").is_file():
        yield root
    if depth and root.is_dir():
        with contextlib.suppress(PermissionError):
            for path in sorted(root.iterdir()):
                if path.is_dir() or path.suffix == ".gguf":
                    yield from _below(path, depth - 1)


def directory(path: Path, kind: str) -> Found | None:
    """A model in Hugging Face layout; None where there are no weights in safetensors, or they cannot be read."""
    weights = sorted(path.glob("*.safetensors"))
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        parameters = sum(_parameters(file) for file in weights)
        size = sum(file.stat().st_size for file in weights)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None
    if not weights or not isinstance(config, dict) or "vocab_size" not in config:
        return None
    source = _json(path / SOURCE)
    name = path.parent.parent.name.removeprefix("models--").replace("--", "/") if kind == "hub" else path.name
    blob = weights[0].resolve().name if len(weights) == 1 else ""
    return Found(
        str(path),
        kind,
        f"{name}@{path.name[:12]}" if kind == "hub" else source.get("name") or name,
        parameters,
        size,
        (path / "chat_template.jinja").is_file() or bool(_json(path / "tokenizer_config.json").get("chat_template")),
        source.get("licence") or _licence(path),
        source.get("sha256") or (blob if len(blob) == 64 else None),
        _shape(parameters, config),
    )


def gguf(path: Path) -> Found | None:
    """A GGUF file, read by its library; None where that is not installed or cannot read it."""
    try:
        from gguf import GGUFReader

        reader = GGUFReader(path)
        fields = {name: reader.get_field(name) for name in ("general.name", "general.license")}
        metadata = {name: str(field.contents()) if field is not None else None for name, field in fields.items()}
        parameters = sum(int(t.n_elements) for t in reader.tensors)
        template = reader.get_field("tokenizer.chat_template") is not None
    except Exception:  # its errors are of many kinds, and a file that is not a model is no fault
        return None
    return Found(
        str(path), "gguf", metadata["general.name"] or path.stem, parameters, path.stat().st_size, template,
        metadata["general.license"], None,
    )  # fmt: skip


def _parameters(file: Path) -> int:
    """The numbers in a safetensors file, by its header."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > MOST_HEADER:
            raise ValueError("no safetensors")
        header = json.loads(opened.read(length))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            size = 1
            for n in tensor["shape"]:
                size *= n
            total += size
    return total


def _shape(parameters: int, config: dict[str, Any]) -> Shape | None:
    numbers = [config.get(k) for k in ("vocab_size", "hidden_size", "num_hidden_layers")]
    sizes = [n for n in numbers if isinstance(n, int)]
    return Shape(parameters, *sizes) if len(sizes) == len(numbers) else None


def _json(file: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        read = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(read, dict):
            return read
    return {}


def _licence(path: Path) -> str | None:
    """What the front of a model card says."""
    with contextlib.suppress(OSError, ValueError):
        for line in (path / "README.md").read_text(encoding="utf-8").splitlines()[:40]:
            if line.startswith("license:"):
                return line.partition(":")[2].strip()
    return None
