"""Ways to read standard input and to print, times what is computed in between."""

from __future__ import annotations

from collections.abc import Iterator

from loopkit.sandbox import Program
from tests.sandbox.honest import Honest

TASKS = {
    # name: (def of work(numbers) -> line, the reference)
    "sum": ("def work(a):\n    return str(sum(a))", lambda a: str(sum(a))),
    "sorted": ("def work(a):\n    return ' '.join(map(str, sorted(a)))", lambda a: " ".join(map(str, sorted(a)))),
    "best run": (
        "def work(a):\n    best = now = a[0]\n    for x in a[1:]:\n        now = max(x, now + x)\n"
        "        best = max(best, now)\n    return f'{best}'",
        lambda a: str(max(sum(a[i:j]) for i in range(len(a)) for j in range(i + 1, len(a) + 1))),
    ),
    "distinct": ("def work(a):\n    return '%d of %d' % (len(set(a)), len(a))", lambda a: f"{len(set(a))} of {len(a)}"),
}
CASES = ([3, 1, 2], [-5, 7, -2, 7, 0], [10**12, -(10**12), 1])

SHAPES = {
    # every one reads n, then n numbers on the next line, and prints work(numbers); WORK is the task
    "input": "WORK\nn = int(input())\nprint(work(list(map(int, input().split()))))",
    "read and split": "import sys\nWORK\nn, *a = map(int, sys.stdin.read().split())\nprint(work(a))",
    "readline": "import sys\nWORK\nn = int(sys.stdin.readline())\nprint(work([int(x) for x in sys.stdin.readline().split()]))",
    "input is readline": "import sys\ninput = sys.stdin.readline\nWORK\ninput()\nprint(work(list(map(int, input().split()))))",
    "input strips": "import sys\ninput = lambda: sys.stdin.readline().rstrip('\\r\\n')\nWORK\n_ = input()\n"
    "sys.stdout.write(work(list(map(int, input().split()))) + '\\n')",
    "names from sys": "from sys import stdin, stdout, setrecursionlimit\nsetrecursionlimit(10 ** 7)\nWORK\nstdin.readline()\n"
    "stdout.write(work([*map(int, stdin.readline().split())]))",
    "bytes": "import sys\nWORK\ndata = sys.stdin.buffer.read().split()\nprint(work([int(x) for x in data[1:]]))",
    "bytes by line": "import sys\nread = sys.stdin.buffer.readline\nWORK\nn = int(read())\nprint(work(list(map(int, read().split()))))",
    "open(0)": "WORK\nprint(work([int(t) for t in open(0).read().split()[1:]]))",
    "open(0) by line": "WORK\n_, line, *rest = open(0)\nprint(work(list(map(int, line.split()))))",
    "/dev/stdin": "WORK\nwith open('/dev/stdin') as f:\n    n = int(f.readline())\n    print(work(list(map(int, f.readline().split()))))",
    "readlines": "import sys\nWORK\nlines = sys.stdin.readlines()\nprint(work(list(map(int, lines[1].split()))), end='')",
    "for line in stdin": "import sys\nWORK\nrows = []\nfor line in sys.stdin:\n    rows.append(list(map(int, line.split())))\nprint(work(rows[1]))",
    "until EOFError": "WORK\nlines = []\nwhile True:\n    try:\n        lines.append(input())\n    except EOFError:\n        break\n"
    "print(work(list(map(int, lines[1].split()))))",
    "fileinput": "import fileinput\nWORK\nlines = list(fileinput.input())\nprint(work(list(map(int, lines[1].split()))))",
    "os.read": "import os\nWORK\ndata = os.read(0, os.fstat(0).st_size)\nprint(work(list(map(int, data.split()))[1:]))",
    "os.write": "import os, sys\nWORK\na = list(map(int, sys.stdin.read().split()))[1:]\nos.write(1, work(a).encode())",
    "fast template": """
import os
import sys
from io import BytesIO, IOBase

BUFSIZE = 8192

class FastIO(IOBase):
    newlines = 0

    def __init__(self, file):
        self._fd = file.fileno()
        self.buffer = BytesIO()
        self.writable = "x" in file.mode or "r" not in file.mode
        self.write = self.buffer.write if self.writable else None

    def readline(self):
        while self.newlines == 0:
            b = os.read(self._fd, max(os.fstat(self._fd).st_size, BUFSIZE))
            self.newlines = b.count(b"\\n") + (not b)
            ptr = self.buffer.tell()
            self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
        self.newlines -= 1
        return self.buffer.readline()

    def flush(self):
        if self.writable:
            os.write(self._fd, self.buffer.getvalue())
            self.buffer.truncate(0), self.buffer.seek(0)

class Wrapped(IOBase):
    def __init__(self, file):
        self.buffer = FastIO(file)
        self.flush = self.buffer.flush
        self.writable = self.buffer.writable
        self.write = lambda s: self.buffer.write(s.encode("ascii"))
        self.readline = lambda: self.buffer.readline().decode("ascii")

sys.stdin, sys.stdout = Wrapped(sys.stdin), Wrapped(sys.stdout)
input = lambda: sys.stdin.readline().rstrip("\\r\\n")
WORK
n = int(input())
print(work(list(map(int, input().split()))))
sys.stdout.flush()
""",
    "main in a big thread": "import sys, threading\nsys.setrecursionlimit(1 << 25)\nthreading.stack_size(1 << 27)\nWORK\ndef main():\n"
    "    input()\n    print(work(list(map(int, input().split()))))\nt = threading.Thread(target=main)\nt.start()\nt.join()",
    "main guard": "import sys\nWORK\ndef main() -> int:\n    n = int(input())\n    a = [int(x) for x in input().split()]\n    assert len(a) == n\n"
    "    print(work(a))\n    return 0\n\nif __name__ == '__main__':\n    sys.exit(main())",
    "a class that solves": "import sys\nWORK\nclass Solver:\n    def __init__(self, stream):\n        self.n = int(stream.readline())\n"
    "        self.a = list(map(int, stream.readline().split()))\n    def run(self):\n        return work(self.a)\n\nprint(Solver(sys.stdin).run())",
    "tokens of a generator": "import sys\nWORK\ndef tokens():\n    for line in sys.stdin:\n        yield from line.split()\nt = tokens()\nn = int(next(t))\n"
    "print(work([int(next(t)) for _ in range(n)]))",
    "buffered prints": "import sys, io\nWORK\ninput()\nout = io.StringIO()\nprint(work(list(map(int, input().split()))), file=out)\nsys.stdout.write(out.getvalue())",
    "redirected": "import contextlib, io\nWORK\ninput()\nbuffer = io.StringIO()\nwith contextlib.redirect_stdout(buffer):\n"
    "    print(work(list(map(int, input().split()))))\nprint(buffer.getvalue(), end='')",
    "stdin wrapped again": "import io, sys\nsys.stdin = io.TextIOWrapper(sys.stdin.buffer, encoding='utf-8')\nWORK\ninput()\nprint(work(list(map(int, input().split()))))",
    "stdin is open(0)": "import sys\nsys.stdin = open(0)\nWORK\ninput()\nprint(work(list(map(int, input().split()))), flush=True)",
    "stdin from a file if there is one": "import os, sys\nif os.path.exists('input.txt'):\n    sys.stdin = open('input.txt')\nWORK\ninput()\n"
    "print(work(list(map(int, input().split()))))",
    "stdin from a file or not": "import sys\ntry:\n    sys.stdin = open('input.txt', 'r')\n    sys.stdout = open('output.txt', 'w')\n"
    "except FileNotFoundError:\n    pass\nWORK\ninput()\nprint(work(list(map(int, input().split()))))",
    "at exit": "import atexit, sys\nlines = []\natexit.register(lambda: sys.stdout.write('\\n'.join(lines)))\nWORK\ninput()\nlines.append(work(list(map(int, input().split()))))",
    "exec of a text": "WORK\nprogram = '''\nn = int(input())\na = list(map(int, input().split()))\nprint(work(a))\n'''\nexec(program)",
    "thread pool": "from concurrent.futures import ThreadPoolExecutor\nWORK\ninput()\na = list(map(int, input().split()))\n"
    "with ThreadPoolExecutor() as pool:\n    print(pool.submit(work, a).result())",
    "debug to stderr": "import sys\nWORK\ninput()\na = list(map(int, input().split()))\nprint('read', len(a), file=sys.stderr)\n"
    "sys.stderr.write('x' * 9999)\nsys.stderr.flush()\nprint(work(a))",
    "exit in the middle": "WORK\ninput()\nprint(work(list(map(int, input().split()))))\nexit()\nprint('never')",
    "line buffering": "import sys\nsys.stdout.reconfigure(line_buffering=True)\nWORK\ninput()\nprint(work(list(map(int, input().split()))))",
}  # fmt: skip


def programs() -> Iterator[Honest]:
    stdin = [f"{len(a)}\n{' '.join(map(str, a))}\n" for a in CASES]
    for shape, text in SHAPES.items():
        for task, (work, reference) in TASKS.items():
            source = text.replace("WORK", work)
            yield Honest(f"{shape}: {task}", Program(source, stdin, "script"), tuple(reference(a) for a in CASES))
