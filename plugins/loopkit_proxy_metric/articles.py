"""The articles: our own short ones, made of fictional facts that are known, and real ones from a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from loopkit.contracts import Split
from loopkit.errors import UsageError
from loopkit.parts.data import messages, read_rows, split_of
from loopkit.records import Decode, Message, Task
from loopkit.seeding import digest, pick, shuffled, uniform
from loopkit_proxy_metric.overlap import prepared
from loopkit_proxy_metric.tokens import tokens

WHO = (
    "Mira", "Tomas", "Edda", "Karl", "Lena", "Oskar", "Petra", "Rolf", "Sina", "Udo", "Vera", "Wim",
    "Anna", "Bruno", "Clara", "Dirk", "Frida", "Gero", "Hanna", "Ivo", "Jana", "Kurt", "Lotte", "Nils",
)  # fmt: skip
JOBS = ("baker", "smith", "tailor", "farmer", "painter", "miller", "teacher", "sailor", "gardener", "weaver")
DID = ("built", "sold", "found", "painted", "mended", "moved", "bought", "lost", "carved", "opened")
LOOKS = ("small", "large", "red", "green", "blue", "old", "new", "wooden", "golden", "round")
THINGS = (
    "clock", "bridge", "boat", "mill", "tower", "garden", "bell", "school", "shop", "well", "gate", "wagon",
    "statue", "stable", "bench", "fountain", "lamp", "market", "oven", "kiosk", "ferry", "barn", "library", "stage",
)  # fmt: skip
TOWNS = (
    "Velm", "Orsk", "Tarn", "Quill", "Brask", "Dunmo", "Elster", "Fenna", "Gorlo", "Hask", "Istra", "Jolm",
    "Kessel", "Lumo", "Morva", "Nedel", "Opal", "Pirna", "Rusk", "Sorrel",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty", "thirty")
CROWDS = ("children", "neighbours", "visitors", "students", "guests", "dancers")
WEATHER = ("Rain", "Snow", "Hail", "Mist")
PRAISE = ("useful", "strange", "lovely", "too dear", "a surprise", "a gift")
LEAD = "On {day}, {who} the {job} {did} a {look} {thing} in {town}."
MORE = (
    "The work took {n} days and cost {m} coins.",
    "{other} from {elsewhere} called it {praise}.",
    "{weather} fell all morning, but {k} {crowd} came to look.",
    "There will be a feast with {crowd2} next {day2}.",
)
SUMMARY = "{who} {did} a {thing} in {town}."
FACTS = ("who", "did", "thing", "town")
"""What a summary should say; each is one word of the article."""
SIZES: dict[Split, int] = {"train": 4000, "dev": 2400, "test": 2400}
DECODE = Decode(temperature=1.0, max_tokens=160)
SHORTEST, LONGEST = 20, 20_000
"""Words of a real article."""
SENTENCE = re.compile(r"(?<=[.!?])\s+")


def own(split: Split) -> list[Task]:
    """Our own tasks: articles of 26 to 40 words, in a fixed order. A (who, thing) belongs to one split."""
    pairs = [(who, thing) for who in WHO for thing in THINGS if split_of("subject", who, thing) == split]
    every = ((who, thing, n) for n in range(SIZES[split]) for who, thing in shuffled(pairs, "pairs", split, n))
    out: dict[str, Task] = {}
    for who, thing, n in every:
        task = _made(who, thing, n)
        out.setdefault(task.public["article"], task)
        if len(out) == SIZES[split]:
            break
    return list(out.values())


def _made(who: str, thing: str, n: int) -> Task:
    def one(of: tuple[str, ...], what: str) -> str:
        return pick(of, who, thing, n, what)

    said = {
        "who": who, "thing": thing, "job": one(JOBS, "job"), "did": one(DID, "did"), "look": one(LOOKS, "look"),
        "town": one(TOWNS, "town"), "day": one(DAYS, "day"), "n": one(NUMBERS, "n"), "m": one(NUMBERS, "m"),
        "other": one(tuple(w for w in WHO if w != who), "other"), "elsewhere": one(TOWNS, "elsewhere"),
        "praise": one(PRAISE, "praise"), "weather": one(WEATHER, "weather"), "k": one(NUMBERS, "k"),
        "crowd": one(CROWDS, "crowd"), "crowd2": one(CROWDS, "crowd2"), "day2": one(DAYS, "day2"),
    }  # fmt: skip
    more = shuffled(MORE, who, thing, n, "more")[: 2 + int(uniform(who, thing, n, "length") * 2)]
    place = int(uniform(who, thing, n, "place") * (len(more) + 1))
    article = " ".join([*more[:place], LEAD, *more[place:]]).format(**said)
    wrong = {**said, "who": said["other"], "town": said["elsewhere"]}
    return Task(
        f"{who}-{thing}-{n}".lower(),
        (Message("user", f"Summarize: {article}", DECODE),),
        public={
            "article": article,
            "reference": SUMMARY.format(**said),
            "facts": [said[name].lower() for name in FACTS],
            "lead": LEAD.format(**said),
            "wrong": SUMMARY.format(**wrong),
        },
    )


def real(path: str, max_tokens: int) -> dict[Split, tuple[Task, ...]]:
    """Articles from a file: ``reward_model.ground_truth`` is the article, ``reference`` (a column, or a key of
    ``reward_model``) its reference summary, if the file has any. Equal prompts are kept once.

    Split 60/20/20 by a hash of the article. Raises UsageError naming a row that cannot be played.
    """
    out: dict[Split, dict[str, Task]] = {"train": {}, "dev": {}, "test": {}}
    rows = read_rows(path, ("prompt", "reward_model"))
    references = [_reference(row) for row in rows]
    expected = any(reference is not None for reference in references)
    for number, (row, reference) in enumerate(zip(rows, references, strict=True)):
        where = f"{path}, row {number}"
        article = row["reward_model"].get("ground_truth") if isinstance(row["reward_model"], Mapping) else None
        if not isinstance(article, str):
            raise UsageError(f"{where}: reward_model.ground_truth must be the article, as text. Mend the row.")
        ready = prepared(article)
        if not SHORTEST <= ready.words <= LONGEST:
            raise UsageError(
                f"{where}: the article has {ready.words} words, not {SHORTEST} to {LONGEST}. Drop the row."
            )
        if not ready.readable:
            raise UsageError(f"{where}: ROUGE reads a-z and digits only, and the article has none. Drop it.")
        if expected and not (isinstance(reference, str) and reference.strip()):
            raise UsageError(f"{where} has no reference summary (text), and others have one. Add it, or drop the row.")
        asked = messages(row, where)
        id_ = f"{digest([m.content for m in asked]):016x}"
        last = Message(asked[-1].role, asked[-1].content, Decode(1.0, max_tokens))
        out[split_of("article", article)].setdefault(
            id_, Task(id_, (*asked[:-1], last), public={"article": article, "reference": reference, "facts": None})
        )
    return {split: tuple(tasks.values()) for split, tasks in out.items()}


def _reference(row: Mapping[str, Any]) -> Any:
    inner = row["reward_model"].get("reference") if isinstance(row["reward_model"], Mapping) else None
    return row.get("reference") if inner is None else inner


def lead(article: str, most: float) -> str:
    """The first sentence, cut to fewer than ``most`` words: what a newspaper's reader reads."""
    return " ".join(_cut(SENTENCE.split(article.strip())[0].split(), most))


def skim(article: str, most: float) -> str:
    """The first words of every other sentence, up to fewer than ``most`` words: it copies no long run."""
    out: list[str] = []
    for sentence in SENTENCE.split(article.strip())[::2]:
        out = _cut([*out, *(["and"] if out else []), *sentence.split()[:5]], most)
    return " ".join(out)


def _cut(chunks: list[str], most: float) -> list[str]:
    kept, n = [], 0
    for chunk in chunks:
        n += len(tokens(chunk).words)
        if n >= most:
            break
        kept.append(chunk)
    return kept
