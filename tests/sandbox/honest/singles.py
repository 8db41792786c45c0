"""Right programs of one kind each: parts of the language and of the library, and values on the way out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import reduce
from typing import Any

from loopkit.sandbox import Program
from tests.sandbox.honest import Honest

MEMO = 400 if sys.version_info[:2] == (3, 12) else 3000
"""How deep a function with ``lru_cache`` can go: Python 3.12 allows 500 such calls, whatever the recursion limit says."""
FIB = reduce(lambda pair, _: (pair[1], sum(pair)), range(MEMO), (0, 1))[0]
INF, NAN = float("inf"), float("nan")

VALUES: dict[str, tuple[str, Any]] = {
    # name: (an expression, its value)
    "none": ("None", None),
    "true": ("1 < 2", True),
    "negative zero": ("-0.0", 0.0),
    "nan and infinities": ("[float('nan'), float('inf'), -float('inf')]", [NAN, INF, -INF]),
    "zero in a set": ("{0 * -1.0, 1.5}", {0.0, 1.5}),
    "zero in a key": ("{(0 * -1.0, 'a'): 1}", {(0.0, "a"): 1}),
    "text of the world": ("'añ日🙂' + chr(0) + '\\n'", "añ日🙂\0\n"),
    "half a surrogate": ("'\\ud800'", "\ud800"),
    "bytes": ("bytes(range(256))", bytes(range(256))),
    "nested containers": ("{'a': [(1, {2}), frozenset({3})], 4: None}", {"a": [(1, {2}), frozenset({3})], 4: None}),
    "empty containers": ("[[], (), {}, set(), frozenset(), '', b'']", [[], (), {}, set(), frozenset(), "", b""]),
    "mixed keys": ("{1: 'a', '1': 'b', (1,): 'c'}", {1: "a", "1": "b", (1,): "c"}),
    "a big number": ("10 ** 5000", 10**5000),
    "many big numbers": ("[2 ** k for k in range(0, 20000, 4000)]", [2**k for k in range(0, 20000, 4000)]),
    "a negative big number": ("-(7 ** 9999)", -(7**9999)),
    "a long list": ("list(range(50000))", list(range(50000))),
    "a long text": ("'line \\\"quoted\\\"\\n' * 40000", 'line "quoted"\n' * 40000),
    "a grid": ("[[i * j for j in range(200)] for i in range(200)]", [[i * j for j in range(200)] for i in range(200)]),
    "a deep list": ("__import__('functools').reduce(lambda a, _: [a], range(150), 0)", reduce(lambda a, _: [a], range(150), 0)),
    "a counter": ("__import__('collections').Counter('abca')", {"a": 2, "b": 1, "c": 1}),
    "a default dict": ("(lambda d: (d['x'].append(1), d)[1])(__import__('collections').defaultdict(list))", {"x": [1]}),
    "an ordered dict": ("__import__('collections').OrderedDict([('b', 1), ('a', 2)])", {"b": 1, "a": 2}),
    "an int enum": ("__import__('enum').IntEnum('E', 'A B').B", 2),
    "any and all": ("any([0, 1]) and all([])", True),
    "integer division": ("[-7 // 2, -7 % 2, divmod(7, -2), round(2.5), int(-1.5)]", [-4, 1, (-4, -1), 2, -1]),
    "floats": ("[0.1 + 0.2, 1e300 * 10, 5e-324, 1 / 3]", [0.1 + 0.2, 1e301, 5e-324, 1 / 3]),
    "complex, printed": ("str((1 + 2j) * 1j)", "(-2+1j)"),
    "bits": ("[5 ^ 3, 5 & ~1, 1 << 40, (1 << 70).bit_length(), bin(10), hex(255)]", [6, 4, 1 << 40, 71, "0b1010", "0xff"]),
    "slices": ("'abcdef'[::-2] + 'abc'[-2:] + 'x' * 2", "fdbbcxx"),
    "format": ("f'{3.14159:.2f}|{7:03d}|{\"a\":>3}|{1000000:,}|{0.5:%}'", "3.14|007|  a|1,000,000|50.000000%"),
}  # fmt: skip

LIBRARY: dict[str, tuple[str, Any]] = {
    # name: (what is imported|an expression, its value)
    "heapq": ("import heapq|(lambda h: (heapq.heapify(h), [heapq.heappop(h) for _ in range(3)])[1])([3, 1, 2])", [1, 2, 3]),
    "bisect": ("from bisect import bisect_left, insort|[bisect_left([1, 3, 5], 3), bisect_left([1, 3, 5], 6)]", [1, 3]),
    "itertools": ("from itertools import *|[''.join(p) for p in permutations('abc', 2)][:3] + list(accumulate([1, 2, 3]))", ["ab", "ac", "ba", 1, 3, 6]),
    "deque": ("from collections import deque|list((lambda d: (d.rotate(1), d)[1])(deque([1, 2, 3], maxlen=3)))", [3, 1, 2]),
    "math": ("import math|[math.gcd(12, 18), math.comb(5, 2), math.isqrt(99), math.prod([2, 3]), math.inf > 1]", [6, 10, 9, 6, True]),
    "functools": ("from functools import reduce, cmp_to_key|[reduce(lambda a, b: a * b, [1, 2, 3]), sorted([3, 1], key=cmp_to_key(lambda a, b: a - b))]", [6, [1, 3]]),
    "lru_cache": ("from functools import lru_cache, cache|(lambda f: f(f, 90))(cache(lambda f, n: n if n < 2 else f(f, n - 1) + f(f, n - 2)))", 2880067194370816120),
    "fractions": ("from fractions import Fraction|str(Fraction(1, 3) + Fraction(1, 6))", "1/2"),
    "decimal": ("from decimal import Decimal, getcontext|str(Decimal('0.1') * 3)", "0.3"),
    "statistics": ("import statistics|[statistics.mean([1, 2, 4, 5]), statistics.median([5, 1, 3])]", [3, 3]),
    "re": ("import re|[re.findall(r'(?i)a+', 'A aa b'), re.sub(r'(\\w)(\\d)', r'\\2\\1', 'a1'), bool(re.fullmatch('x?', ''))]", [["A", "aa"], "1a", True]),
    "json": ("import json|[json.dumps({'b': [1, None]}, sort_keys=True), json.loads('[true, 1.5]')]", ['{"b": [1, null]}', [True, 1.5]]),
    "string": ("import string|string.ascii_lowercase[:3] + string.digits[-1]", "abc9"),
    "datetime": ("from datetime import *|[(date(2024, 3, 1) - date(2024, 2, 1)).days, datetime(2024, 1, 1).strftime('%A')]", [29, "Monday"]),
    "calendar": ("import calendar|calendar.monthrange(2024, 2)", (3, 29)),
    "hashlib": ("import hashlib|[hashlib.md5(b'a').hexdigest()[:4], hashlib.sha256(b'a').hexdigest()[:4], hashlib.new('sha512', b'a').hexdigest()[:4]]", ["0cc1", "ca97", "1f40"]),
    "blake and sha3": ("import hashlib|[hashlib.blake2b(b'a').hexdigest()[:4], hashlib.sha3_256(b'a').hexdigest()[:4]]", ["333f", "8008"]),
    "hmac": ("import hmac|hmac.new(b'k', b'a', 'sha256').hexdigest()[:6]", "78da91"),
    "pbkdf2": ("import hashlib|hashlib.pbkdf2_hmac('sha256', b'password', b'salt', 2).hex()[:8]", "ae4d0c95"),
    "base64": ("import base64|base64.b64encode(b'abc').decode()", "YWJj"),
    "struct and array": ("import struct, array|[struct.unpack('<H', b'\\x01\\x02')[0], array.array('i', [1, 2]).tolist()]", [513, [1, 2]]),
    "zlib": ("import zlib|[zlib.crc32(b'abc'), zlib.decompress(zlib.compress(b'x' * 9))]", [891568578, b"xxxxxxxxx"]),
    "bz2 and lzma": ("import bz2, lzma|[bz2.decompress(bz2.compress(b'a')), lzma.decompress(lzma.compress(b'b'))]", [b"a", b"b"]),
    "random": ("import random|[random.randint(1, 6) in range(1, 7), len(random.sample(range(9), 3)), sorted(random.choices('ab', k=3))[0] in 'ab']", [True, 3, True]),
    "random seeded": ("import random|random.Random(1).random()", 0.13436424411240122),
    "copy": ("import copy|(lambda a: (copy.deepcopy(a)[0].append(2), a)[1])([[1]])", [[1]]),
    "operator": ("from operator import *|[itemgetter(1)((1, 2)), add(1, 2), attrgetter('real')(3)]", [2, 3, 3]),
    "textwrap and pprint": ("import textwrap, pprint|[textwrap.fill('aa bb cc', 5), pprint.pformat([1, 2])]", ["aa bb\ncc", "[1, 2]"]),
    "difflib and shlex": ("import difflib, shlex|[difflib.get_close_matches('ab', ['abc']), shlex.split('a \"b c\"')]", [["abc"], ["a", "b c"]]),
    "csv": ("import csv, io|list(csv.reader(io.StringIO('a,\"b,c\"\\n1,2')))", [["a", "b,c"], ["1", "2"]]),
    "xml": ("import xml.etree.ElementTree as ET|ET.fromstring('<a><b x=\"1\"/></a>')[0].get('x')", "1"),
    "html and urllib": ("import html, urllib.parse|[html.unescape('&lt;'), urllib.parse.quote('a b'), urllib.parse.urlparse('http://x/y').path]", ["<", "a%20b", "/y"]),
    "unicodedata": ("import unicodedata|unicodedata.normalize('NFD', 'é').encode('ascii', 'ignore')", b"e"),
    "ast": ("import ast|[ast.literal_eval('[1, (2, 3)]'), ast.dump(ast.parse('1', mode='eval'))[:10]]", [[1, (2, 3)], "Expression"]),
    "graphlib": ("from graphlib import TopologicalSorter|list(TopologicalSorter({2: [1], 3: [2]}).static_order())", [1, 2, 3]),
    "queue": ("from queue import Queue, PriorityQueue|(lambda q: (q.put(2), q.put(1), q.get())[2])(PriorityQueue())", 1),
    "uuid and secrets": ("import uuid, secrets|[len(str(uuid.uuid4())), len(secrets.token_hex(4)), str(uuid.UUID(int=1))[-1]]", [36, 8, "1"]),
    "inspect": ("import inspect|list(inspect.signature(lambda a, *b, c=1: 0).parameters)", ["a", "b", "c"]),
    "pathlib": ("from pathlib import Path, PurePath|[PurePath('a/b.txt').suffix, Path('/nothing').exists()]", [".txt", False]),
    "os.path": ("import os|[os.path.join('a', 'b'), os.path.exists('x'), os.path.splitext('a.b')[1], os.path.abspath('a')]", ["a/b", False, ".b", "/a"]),
    "cores": ("import os, multiprocessing|[os.cpu_count() >= 1, multiprocessing.cpu_count() >= 1, len(os.sched_getaffinity(0)) >= 1]", [True, True, True]),
    "limits are asked for": ("import resource|[len(resource.getrlimit(resource.RLIMIT_STACK)), resource.setrlimit(resource.RLIMIT_STACK, (-1, -1))]", [2, None]),
    "alarm and back": ("import signal|[signal.signal(signal.SIGALRM, lambda *a: None) is not None, signal.alarm(5), signal.alarm(0) > 0]", [True, 0, True]),
    "an alarm that rings": ("import signal, time|(lambda hit: (signal.signal(signal.SIGALRM, lambda *a: hit.append(1)), signal.setitimer(signal.ITIMER_REAL, 0.05), time.sleep(0.2), hit)[3])([])", [1]),
    "time": ("import time|[time.perf_counter() > 0, time.process_time() >= 0, time.gmtime(0).tm_year]", [True, True, 1970]),
    "thread pool executor": ("from concurrent.futures import ThreadPoolExecutor|(lambda p: list(p.map(abs, [-1, 2])))(ThreadPoolExecutor(4))", [1, 2]),
    "multiprocessing.dummy": ("from multiprocessing.dummy import Pool|Pool(2).map(abs, [-1, 2])", [1, 2]),
    "forty threads": ("import threading|(lambda ts: ([t.start() for t in ts], [t.join() for t in ts], len(ts))[2])([threading.Thread(target=int) for _ in range(40)])", 40),
    "context variables": ("import contextvars|contextvars.ContextVar('v', default=3).get()", 3),
    "types and typing": ("import types, typing|[types.SimpleNamespace(a=1).a, typing.get_type_hints(lambda a: 0)]", [1, {}]),
    "weakref and gc": ("import weakref, gc|[len(weakref.WeakValueDictionary()), gc.isenabled(), gc.collect() >= 0]", [0, True, True]),
    "tracemalloc": ("import tracemalloc, sys|(tracemalloc.start(), sys.getsizeof([]) > 0, tracemalloc.stop())[1]", True),
    "warnings": ("import warnings|warnings.warn('careful')", None),
    "unittest": ("import unittest|unittest.TestCase().assertEqual(1, 1)", None),
    "spooled file": ("import tempfile|(lambda f: (f.write(b'a'), f.seek(0), f.read())[2])(tempfile.SpooledTemporaryFile())", b"a"),
    "numpy if there is one": ("import importlib.util|bool(importlib.util.find_spec('numpy')) in (True, False)", True),
}  # fmt: skip

FUNCTIONS: dict[str, tuple[str, list[list[Any]], list[Any]]] = {
    # name: (source, cases, what each gives)
    "a missing package is caught": ("try:\n    import numpy as np\nexcept ImportError:\n    np = None\ndef solve(a): return sum(a)", [[[1, 2]]], [3]),
    "a missing file is caught": ("def solve(p):\n    try:\n        return open(p).read()\n    except FileNotFoundError as e:\n        return e.errno", [["data.txt"], ["/etc/x"]], [2, 2]),
    "deep recursion": ("import sys\nsys.setrecursionlimit(10 ** 6)\ndef solve(n): return 0 if n == 0 else 1 + solve(n - 1)", [[20000]], [20000]),
    "recursion with a memo": ("import sys\nfrom functools import lru_cache\nsys.setrecursionlimit(10 ** 6)\n@lru_cache(None)\ndef solve(n): return n if n < 2 else (solve(n - 1) + solve(n - 2)) % 97", [[MEMO]], [FIB % 97]),
    "recursion error is caught": ("def f(n): return f(n + 1)\ndef solve(x):\n    try: return f(0)\n    except RecursionError: return x", [[7]], [7]),
    "memory error is caught": ("def solve(x):\n    try: return len(bytearray(1 << 40))\n    except MemoryError: return x", [[7]], [7]),
    "sieve": ("def solve(n):\n    s = bytearray([1]) * (n + 1)\n    s[0:2] = b'\\0\\0'\n    for i in range(2, int(n ** .5) + 1):\n        if s[i]: s[i * i::i] = bytes(len(s[i * i::i]))\n    return sum(s)", [[10], [10 ** 5]], [4, 9592]),
    "union find": ("def solve(n, edges):\n    p = list(range(n))\n    def find(x):\n        while p[x] != x:\n            p[x] = p[p[x]]; x = p[x]\n        return x\n    for a, b in edges: p[find(a)] = find(b)\n    return len({find(i) for i in range(n)})", [[4, [[0, 1], [2, 3]]], [3, []]], [2, 3]),
    "breadth first": ("from collections import deque\ndef solve(g):\n    q, d = deque([(0, 0)]), {(0, 0): 0}\n    while q:\n        i, j = q.popleft()\n        for a, b in ((i + 1, j), (i, j + 1), (i - 1, j), (i, j - 1)):\n            if 0 <= a < len(g) and 0 <= b < len(g[0]) and g[a][b] == 0 and (a, b) not in d:\n                d[a, b] = d[i, j] + 1; q.append((a, b))\n    return d.get((len(g) - 1, len(g[0]) - 1), -1)", [[[[0, 1], [0, 0]]], [[[0, 1], [1, 0]]]], [2, -1]),
    "linked list": ("class ListNode:\n    def __init__(self, val=0, next=None): self.val, self.next = val, next\nclass Solution:\n    def solve(self, a):\n        head = None\n        for x in a: head = ListNode(x, head)\n        out = []\n        while head: out.append(head.val); head = head.next\n        return out", [[[1, 2, 3]]], [[3, 2, 1]]),
    "tree of tuples": ("def solve(t):\n    if t is None: return 0\n    v, left, right = t\n    return 1 + max(solve(left), solve(right))", [[(1, (2, None, None), None)], [None]], [2, 0]),
    "mutates its argument": ("def solve(a):\n    a.sort(); a.append(0)\n    return a", [[[2, 1]]], [[1, 2, 0]]),
    "keyword defaults": ("def solve(a, b=2, *rest, c=3, **more): return [a, b, list(rest), c]", [[1], [1, 5, 6]], [[1, 2, [], 3], [1, 5, [6], 3]]),
    "yields, collected": ("def gen(n):\n    a, b = 0, 1\n    for _ in range(n):\n        yield a\n        a, b = b, a + b\ndef solve(n): return list(gen(n))", [[6]], [[0, 1, 1, 2, 3, 5]]),
    "single dispatch on a local class": ("from functools import singledispatch\ndef solve(x):\n    class P: pass\n    @singledispatch\n    def f(v): return 'other'\n    @f.register\n    def _(v: P): return 'P'\n    return [f(P()), f(x)]", [[1]], [["P", "other"]]),
    "type hints of a local": ("import typing\ndef solve(x):\n    T = int\n    def f(a: T): pass\n    return typing.get_type_hints(f)['a'] is int", [[1]], [True]),
    "metaclass and property": ("class M(type):\n    def __call__(cls, *a):\n        o = super().__call__(*a); o.made = True; return o\nclass A(metaclass=M):\n    def __init__(self, x): self._x = x\n    @property\n    def x(self): return self._x * 2\ndef solve(x): return [A(x).x, A(x).made]", [[3]], [[6, True]]),
    "descriptors and slots": ("class D:\n    def __set_name__(self, o, n): self.n = '_' + n\n    def __get__(self, o, t): return getattr(o, self.n, 0)\n    def __set__(self, o, v): setattr(o, self.n, v + 1)\nclass A:\n    x = D()\ndef solve(v):\n    a = A(); a.x = v\n    return a.x", [[1]], [2]),
    "exception groups of one's own": ("class Bad(Exception): pass\ndef solve(x):\n    try:\n        try: raise Bad(x)\n        except Bad as e: raise ValueError('v') from e\n    except ValueError as e: return [str(e), e.__cause__.args[0]]", [[5]], [["v", 5]]),
    "state between the calls": ("seen = []\ndef solve(x):\n    seen.append(x)\n    return x * 2", [[1], [2], [3]], [2, 4, 6]),
    "a subclass of list": ("class L(list):\n    def __eq__(self, o): return True\n    __hash__ = None\ndef solve(a): return L(a)", [[[1]]], [[1]]),
    "a subclass of str in a dict": ("class S(str): pass\nclass D(dict): pass\ndef solve(a): return D({S(a): S(a)})", [["k"]], [{"k": "k"}]),
    "a named tuple": ("from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    y: int = 0\ndef solve(a): return P(a)", [[4]], [(4, 0)]),
    "four answers of 700 KB": ("def solve(c): return c * 700_000", [["a"], ["b"], ["c"], ["d"]], [c * 700_000 for c in "abcd"]),
    "string building": ("def solve(n):\n    out = []\n    for i in range(1, n + 1): out.append('FizzBuzz'[i * i % 3 * 4:8 - -i ** 4 % 5] or str(i))\n    return out", [[5]], [["1", "2", "Fizz", "4", "Buzz"]]),
    "star expressions": ("def solve(a):\n    first, *mid, last = a\n    return [*mid, first, {**{'l': last}}]", [[[1, 2, 3]]], [[2, 1, {"l": 3}]]),
    "async, driven by hand": ("async def f(x): return x + 1\ndef solve(x):\n    c = f(x)\n    try: c.send(None)\n    except StopIteration as e: return e.value", [[1]], [2]),
    "operators overloaded": ("class V:\n    def __init__(s, x): s.x = x\n    def __add__(s, o): return V(s.x + o.x)\n    def __lt__(s, o): return s.x < o.x\n    def __matmul__(s, o): return s.x * o.x\ndef solve(a, b): return [(V(a) + V(b)).x, V(a) < V(b), V(a) @ V(b)]", [[2, 3]], [[5, True, 6]]),
    "name of the module": ("def solve(x): return [__name__ != '', __file__.endswith('.py'), x]", [[1]], [[True, True, 1]]),
    "json as it likes it": ("import functools, json\njson.dumps = functools.partial(json.dumps, indent=1)\ndef solve(a):\n    return [json.dumps(a), (1,), {2}]", [[[3]], [[]]], [["[\n 3\n]", (1,), {2}], ["[]", (1,), {2}]]),
}  # fmt: skip
SCRIPTS: dict[str, tuple[str, list[str], list[str]]] = {
    # name: (source, standard inputs, what each prints)
    "a quine": ("s='s=%r;print(s%%s)';print(s%s)", [""], ["s='s=%r;print(s%%s)';print(s%s)"]),
    "no input": ("print('hello')", [""], ["hello"]),
    "input without an end": ("print(input()[::-1])", ["abc"], ["cba"]),
    "text of the world": ("print(*reversed(input()), sep='')", ["añ日\n"], ["日ña"]),
    "half surrogates in the input": ("print(len(input()))", ["a\ud800b\n"], ["3"]),
    "windows line ends": ("import sys\nprint(sys.stdin.read().split())", ["1 2\r\n3\r\n"], ["['1', '2', '3']"]),
    "print with sep and end": ("print(1.0, 2, sep=',', end='!\\n')\nprint(f'{1 / 3:.3f}')", [""], ["1.0,2!\n0.333"]),
    "exit code zero": ("import sys\nprint('ok')\nsys.exit(0)", [""], ["ok"]),
    "os._exit after a flush": ("import os\nprint('ok', flush=True)\nos._exit(0)", [""], ["ok"]),
    "stderr as Python has it": ("import sys\nsys.stderr.isatty()\nsys.stderr.fileno()\nprint(sys.stdin.mode, sys.stdout.mode, sys.stdin.encoding)", [""], ["r w utf-8"]),
    "faulthandler": ("import faulthandler\nfaulthandler.enable()\nprint('ok')", [""], ["ok"]),
    "the main module": ("import sys, __main__\nx = 5\nprint(__main__.x, sys.modules[__name__].x, __name__)", [""], ["5 5 __main__"]),
    "long digits": ("import sys\nsys.set_int_max_str_digits(0)\nprint(len(str(10 ** 9999)))", [""], ["10000"]),
    "1 MB of output": ("import sys\nsys.stdout.write('x' * 1_000_000)", [""], ["x" * 1_000_000]),
    "much input": ("import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))", ["7 " * 300_000], ["2100000"]),
    "stdin closed at the end": ("import sys\nprint(input())\nsys.stdin.close()\nsys.stdout.flush()", ["q\n"], ["q"]),
    "stdout closed at the end": ("import sys\nprint('q')\nsys.stdout.close()", [""], ["q"]),
    "threads that print": ("import threading\nts = [threading.Thread(target=print, args=(i,)) for i in range(3)]\nfor t in ts:\n    t.start(); t.join()", [""], ["0\n1\n2"]),
    "a thread not waited for": ("import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()", [""], ["late"]),
    "a command loop": ("import sys\nstack = []\nfor line in sys.stdin:\n    op, *rest = line.split()\n    if op == 'push': stack.append(int(rest[0]))\n    elif op == 'pop': print(stack.pop())\n    else: break", ["push 3\npush 4\npop\npop\nend\n"], ["4\n3"]),
    "uncaught in a thread": ("import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start(); t.join()\nprint('on')", [""], ["on"]),
    "simple prompts": ("name = input('name? ')\nprint('hi', name)", ["Bo\n"], ["name? hi Bo"]),
}  # fmt: skip


def programs() -> Iterator[Honest]:
    for name, (expression, value) in VALUES.items():
        yield Honest(f"value: {name}", Program(f"def solve():\n    return {expression}", [[]]), (value,))
    for name, (text, value) in LIBRARY.items():
        head, expression = text.split("|", 1)
        yield Honest(f"library: {name}", Program(f"{head}\ndef solve():\n    return {expression}", [[]]), (value,))
    for name, (source, cases, expected) in FUNCTIONS.items():
        entry = "Solution.solve" if "class Solution" in source else "solve"
        yield Honest(f"function: {name}", Program(source, cases, entry=entry), tuple(expected))
    for name, (source, stdin, printed) in SCRIPTS.items():
        yield Honest(f"script: {name}", Program(source, stdin, "script"), tuple(printed))
