"""What comes with a model is data: its directory runs no code, its weights are not pickles, its template has an end."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch

from loopkit.contracts import PolicyRef
from loopkit.errors import UsageError
from loopkit.policy import template
from loopkit.policy.load import load, load_parts
from loopkit.policy.tiny import BUNDLED
from loopkit.records import Message

CODE = """
from pathlib import Path
Path({mark!r}).write_text("ran")
from transformers import {base}
class Mine({base}): pass
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(BUNDLED, folder)
    return folder


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    ("file", "base", "classes"),
    [
        ("config.json", "LlamaForCausalLM", {"AutoModelForCausalLM": "mine.Mine"}),
        ("config.json", "LlamaConfig", {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Mine"}),
        ("tokenizer_config.json", "PreTrainedTokenizerFast", {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}),
    ],
)
def test_code_in_a_model_directory_is_not_run(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, base: str, classes: object
) -> None:
    """Nor is anybody asked: with "yes" on its standard input 0.1 ran it."""
    mark = tmp_path / "ran"
    (model / "mine.py").write_text(CODE.format(mark=str(mark), base=base))
    edit(model / file, auto_map=classes, model_type="mine", tokenizer_class="Mine")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with contextlib.suppress(UsageError):  # or transformers has a class of its own for it
        load_parts(str(model))
    assert not mark.exists()


def test_pickled_weights_are_refused_by_name(model: Path) -> None:
    network, _ = load_parts(str(model))
    torch.save(network.state_dict(), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"could not be loaded: .*model\.safetensors"):
        load_parts(str(model))


def test_a_pickled_adapter_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(UsageError, match=r"pickled.*safetensors"):
        load(PolicyRef(str(BUNDLED), adapter=str(tmp_path)))


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"


def test_a_template_without_an_end_is_ended_in_any_thread() -> None:
    _, tokenizer = load_parts(str(BUNDLED))
    chat = [{"role": "user", "content": "hello"}]
    fine, caught = template.render(tokenizer, chat), []
    tokenizer.chat_template = ENDLESS

    def work() -> None:
        with pytest.raises(UsageError, match=r"chat template.*0\.3 s.*mend chat_template") as error:
            template.render(tokenizer, chat, seconds=0.3)
        caught.append(error)

    before = sys.gettrace()
    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == 2
    assert sys.gettrace() is before
    tokenizer.chat_template = None
    _, other = load_parts(str(BUNDLED))
    assert template.render(other, chat) == fine


def test_a_template_reaches_no_objects() -> None:
    _, tokenizer = load_parts(str(BUNDLED))
    tokenizer.chat_template = "{{ messages.__class__.__mro__[-1].__subclasses__() }}"
    with pytest.raises(Exception, match=r"unsafe|access to attribute"):
        template.render(tokenizer, [{"role": "user", "content": "hello"}])


def test_a_template_is_told_what_the_run_says() -> None:
    """Whether to think, say; a policy loaded for the run asks that way."""
    ref = PolicyRef(str(BUNDLED), template_kwargs={"enable_thinking": False})
    policy = load(ref)
    policy.tokenizer.chat_template = "{{ messages[0]['content'] }}{% if enable_thinking is false %} 7{% endif %}"
    assert policy.tokenizer.decode(policy.encode([Message("user", "Solve: 1")])).split()[-1] == "7"
