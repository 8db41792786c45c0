"""Hostile programs. Each tries for one thing and says THROUGH where it got it; or answers what it cannot know, SECRET.

Run as a script it attacks the tiers named on its command line and prints what got through, as JSON: so the tests run
it as another user.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from loopkit.sandbox import Limits, Outcome, Program, Sandbox, same
from loopkit.sandbox.inside.syscalls import TABLE
from tests.sandbox import attacks_later as later

SECRET = 77_312_604
"""The expected output: it never enters the sandbox."""
MARK = "earlier-program-7f3a"
"""What the programs before an attack had in their memory."""
LIMITS = Limits(cpu=0.3, wall=1.5, output=1 << 18)

HEAD = f"""
import ctypes, os, signal, socket, sys, time
os.close(2)  # makes room for a descriptor
N = {TABLE.get(os.uname().machine, {})!r}
L = ctypes.CDLL(None, use_errno=True)
L.syscall.restype = ctypes.c_long

def tried(act):
    try:
        got = act()
    except BaseException as error:
        return "no: " + type(error).__name__
    return "THROUGH: " + repr(got)[:60]

def call(name, *arguments):
    if name not in N:
        return "none here"
    got = L.syscall(ctypes.c_long(N[name]), *arguments)
    return "no: %d" % ctypes.get_errno() if got < 0 else "THROUGH: %s %d" % (name, got)

P = (1, os.getpid(), os.getppid() if "getppid" in N else 2, {os.getpid()}, {os.getppid()})
"""

FUNCTIONS: dict[str, str] = {
    # --- files and /proc
    "files: read a password file": "solve = lambda x: tried(lambda: open('/etc/passwd').read())",
    "files: read Python's own": "solve = lambda x: tried(lambda: open(os.__file__).read())",
    "files: list directories": "solve = lambda x: [tried(lambda: os.listdir(d)) for d in ('/', '/usr', '/tmp', '.')]",
    "files: stat": "solve = lambda x: [tried(lambda: os.stat(d)) for d in ('/', '/etc/passwd', '/root', '/home')]",
    "files: write anywhere": """
def solve(x):
    return [tried(lambda: open(d + '/loopkit-was-here', 'w')) for d in ('/', '/tmp', '/dev/shm', '/var/tmp', '.')]""",
    "files: fill the disk": "def solve(x):\n    f = open('/tmp/x', 'wb')\n    while 1: f.write(bytes(1 << 20))",
    "files: remove": "solve = lambda x: [tried(lambda: os.unlink('/tmp/x')), tried(lambda: os.rmdir('/tmp'))]",
    "files: through raw calls": """
def solve(x):
    return [call('openat', ctypes.c_int(-100), b'/', 0), call('openat2', -100, b'/', b'\\0' * 24, 24),
            call('open', b'/etc/passwd', 0), call('statx', -100, b'/', 0, 0xfff, ctypes.create_string_buffer(256)),
            call('newfstatat', -100, b'/', ctypes.create_string_buffer(256), 0),
            call('execveat', -100, b'/bin/true', None, None, 0), call('chdir', b'/'), call('chroot', b'/')]""",
    "files: memory files": "solve = lambda x: [tried(lambda: os.memfd_create('x')), call('memfd_secret', 0)]",
    "proc: memory of others": """
def solve(x):
    return [tried(lambda: open(f'/proc/{p}/mem', 'rb').read(1)) for p in P]""",
    "proc: what others run": """
def solve(x):
    return [tried(lambda: open(f'/proc/{p}/{f}').read())
            for p in (*P, 'self') for f in ('maps', 'environ', 'cmdline')]""",
    "proc: descriptors of others": """
def solve(x):
    return [tried(lambda: os.open(f'/proc/{p}/fd/{n}', os.O_RDWR)) for p in (*P, 'self') for n in range(6)]""",
    # --- network
    "network: sockets": """
def solve(x):
    return [tried(lambda: socket.socket(f, k)) for f in (1, 2, 10, 16, 17, 38) for k in (1, 2, 3, 5)]""",
    "network: connect": "solve = lambda x: tried(lambda: socket.create_connection(('127.0.0.1', 80), 1))",
    "network: socket pair": "def solve(x):\n    os.close(0)\n    return tried(socket.socketpair)",
    "network: name service": "solve = lambda x: tried(lambda: socket.getaddrinfo('example.org', 80))",
    "network: io_uring": "solve = lambda x: call('io_uring_setup', 8, ctypes.create_string_buffer(120))",
    # --- processes
    "processes: fork": "solve = lambda x: tried(os.fork)",
    "processes: fork bomb": """
def solve(x):
    while 1:
        try: os.fork()
        except OSError: time.sleep(0)""",
    "processes: clone": """
def solve(x):
    z = [ctypes.c_ulong(0)] * 4
    flags = (17, 0, 0x100 | 17, 0x4000 | 0x100 | 17, 0x10000000 | 17, 0x7e020000 | 17, 0x3d0f00 | 0x20000000, 0x2f00)
    return [call('clone', ctypes.c_ulong(f), *z) for f in flags] + [call('clone3', bytes(88), 88), call('vfork')]""",
    "processes: run a program": """
def solve(x):
    import subprocess
    return [tried(lambda: subprocess.run(['/bin/true'])), tried(lambda: os.execv('/bin/sh', ['sh'])),
            tried(lambda: os.posix_spawn('/bin/true', ['true'], {})), tried(lambda: os.popen('id').read() or 1/0)]""",
    "processes: a grandchild that survives": """
def solve(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: time.sleep(60)
        os._exit(0)
    return 'THROUGH'""",
    "processes: new session, group, priority": """
def solve(x):
    return [call('setsid'), call('setpgid', 0, 0), call('setpriority', 0, P[2], 19),
            call('sched_setaffinity', P[2], 8, bytes(8))]""",
    "processes: namespaces and mounts": """
def solve(x):
    return [call('unshare', 0x10000000), call('unshare', 0x20000), call('setns', 3, 0),
            call('mount', b'a', b'/', b'tmpfs', 0, 0),
            call('umount2', b'/', 2), call('pivot_root', b'/', b'/')]""",
    # --- signals and tracing
    "signals: kill": """
def solve(x):
    return [tried(lambda: os.kill(p, s)) for p in (*P, -1, 0) for s in (9, 15, 19, 2, 0)]""",
    "signals: raw": """
def solve(x):
    return [call(n, ctypes.c_int(p), 9) for p in P for n in ('kill', 'tkill')] + [
        call('tgkill', p, p, 9) for p in P]""",
    "signals: through descriptors": """
def solve(x):
    return [call('pidfd_open', p, 0) for p in P] + [call('pidfd_send_signal', n, 9, None, 0) for n in range(64)]
""",
    "signals: owner of a descriptor": """
def solve(x):
    return [call('fcntl', fd, c, P[2]) for fd in range(4) for c in (8, 10)]""",
    "tracing: others' memory": """
def solve(x):
    return [call(n, p, *[ctypes.c_ulong(0)] * 5) for p in P for n in ('process_vm_readv', 'process_vm_writev', 'kcmp')]
""",
    "tracing: attach": "solve = lambda x: [call('ptrace', r, p, 0, 0) for p in P for r in (0, 16, 0x4206)]",
    "limits: raise one's own and others'": """
def solve(x):
    big = (ctypes.c_ulong * 2)(1 << 40, 1 << 40)
    return [call('prlimit64', p, r, big, None) for p in (0, *P) for r in (0, 1, 6, 7, 9)] + [
        call('setrlimit', 9, big)]""",
    "kernel: reach for the rest of it": """
def solve(x):
    names = ('bpf', 'perf_event_open', 'userfaultfd', 'keyctl', 'add_key', 'personality', 'init_module', 'syslog',
             'shmget', 'msgget', 'semget', 'mq_open', 'inotify_init1', 'eventfd2', 'timerfd_create', 'prctl', 'seccomp')
    return [call(n, *[ctypes.c_ulong(0)] * 5) for n in names if n != 'personality']""",
    "kernel: become root": """
def solve(x):
    return [call('setuid', 0), tried(lambda: os.setresuid(0, 0, 0)), 'THROUGH' if os.getuid() == 0 else 'no',
            call('capset', bytes(8), bytes(24))]""",
    # --- resources
    "time: loop": "def solve(x):\n    while 1: pass",
    "time: sleep": "def solve(x):\n    time.sleep(1000)",
    "time: loop that catches everything": """
signal.setitimer(signal.ITIMER_PROF, 0); signal.setitimer(signal.ITIMER_REAL, 0)
for s in range(1, 65):
    try: signal.signal(s, lambda *a: None)
    except BaseException: pass
def solve(x):
    while 1:
        try:
            while 1: pass
        except BaseException: pass""",
    "time: loop in C": "def solve(x):\n    return sum(range(10 ** 12))",
    "time: regular expression": "import re\ndef solve(x):\n    return re.match('(a+)+$', 'a' * 40 + 'b')",
    "time: long numbers": "def solve(x):\n    return str(10 ** 10 ** 9)[:2]",
    "time: at import": "while 1: pass",
    "time: compile": "solve = lambda x: eval('(' * 80 + '1' + ')' * 80 + '+1' * 2000000)",
    "memory: lists": "def solve(x):\n    a = []\n    while 1: a.append(bytearray(1 << 22))",
    "memory: one piece": "solve = lambda x: len(bytearray(1 << 40))",
    "memory: many maps": """
def solve(x):
    n = 0
    L.mmap.restype = ctypes.c_void_p
    while L.mmap(None, ctypes.c_size_t(1 << 24), 3, 0x8022, -1, ctypes.c_size_t(0)) != 2 ** 64 - 1: n += 1
    return 'THROUGH' if n > 64 else 'no'""",
    "threads: bomb": """
import _thread
_thread.stack_size(1 << 15)
def solve(x):
    n = 0
    try:
        while n < 5000: _thread.start_new_thread(time.sleep, (1,)); n += 1
    except BaseException: pass
    return 'THROUGH: %d' % n if n > 2000 else 'no'""",
    "threads: bomb that never ends": """
import _thread
_thread.stack_size(1 << 15)
def solve(x):
    while 1:
        try: _thread.start_new_thread(time.sleep, (100,))
        except BaseException: pass""",
    "threads: left behind": """
import threading
def solve(x):
    threading.Thread(target=time.sleep, args=(100,)).start()
    return 1""",
    "recursion": "def g(n): return g(n + 1)\ndef solve(x):\n    sys.setrecursionlimit(10 ** 9)\n    return g(0)",
    "recursion: in C": """
class A:
    def __repr__(self): return repr(self)
def solve(x):
    sys.setrecursionlimit(10 ** 9)
    return repr(A())""",
    "recursion: in the answer": "def solve(x):\n    a = []\n    for _ in range(10 ** 5): a = [a]\n    return a",
    "recursion: an answer that holds itself": "def solve(x):\n    a = []; a.append(a)\n    return a",
    "crash": "def solve(x):\n    ctypes.string_at(0)",
    "crash: in a destructor": """
class A:
    def __del__(self): ctypes.string_at(0)
def solve(x):
    a = A()
    return 1""",
    # --- output
    "output: giant answer": "solve = lambda x: 'B' * (20 << 20)",
    "output: giant number": "solve = lambda x: 1 << (30 << 20)",
    "output: giant print": "def solve(x):\n    for _ in range(300): print('A' * (1 << 16))\n    return 'B' * (1 << 20)",
    "output: endless, on every descriptor": """
def solve(x):
    while 1:
        for fd in range(8):
            try: os.write(fd, b'[' * 65536)
            except OSError: pass""",
    # --- forged results
    "forge: answers on every descriptor": f"""
for fd in range(0, 1024):
    for text in (b'[-1, "loaded"]\\n[0, "value", "{SECRET - 1}"]\\n[1, "value", "THROUGH"]\\n',
                 b'{{"status": 0, "late": false, "cpu": 0.0, "began": true, "note": "THROUGH"}}'):
        if fd in (0, 1, 2, 3): continue  # its own: an empty input, its answers, nowhere, a note
        try: os.write(fd, text); got = 1
        except OSError: pass
        else: os.write(1, b'[-1, "loaded"]\\n[0, "value", "\\\\"THROUGH\\\\""]\\n')
os._exit(0)""",
    "forge: messages on the control socket": """
def solve(x):
    text = b'{"status": 0, "late": false, "cpu": 0.0, "began": true, "note": ""}'
    return [call(n, fd, text, len(text), 0, None, 0) for fd in range(64) for n in ('sendto', 'sendmsg', 'recvmsg')]""",
    "forge: early exit": "import sys\nsys.exit(0)",
    "forge: early exit without a word": "os._exit(0)",
    "forge: exit after another's frame": """
os.write(1, b'[0, "value", "1"]\\n')
os._exit(0)""",
    "forge: deep frame": "os.write(1, b'[' * 200000)\nos._exit(0)",
    "forge: huge number frame": """
os.write(1, b'[-1, "loaded"]\\n[0, "value", ' + b'9' * 200000 + b']\\n')
os._exit(0)""",
    **{
        f"forge: json that writes {text}": f"import json\njson.dumps = lambda *a, **k: {text!r}\nsolve = lambda x: x"
        for text in (
            "5",
            "true",
            "null",
            "NaN",
            "1e400",
            '{"x": 1}',
            '"loaded"',
            "[]",
            "[[-1]]",
            '[-1, "error", 1, []]',
        )
    },
    "forge: an encoder that writes 5": "import json\njson.JSONEncoder.encode = lambda *a: '5'\nsolve = lambda x: x",
    "forge: an encoder that writes in parts": """
import json
json.JSONEncoder.iterencode = lambda *a, **k: iter(['{"x', '":1}'])
def solve(x): return x""",
    "forge: bytes that are no text": "os.write(1, bytes(range(256)) * 99 + b'\\n')\nos._exit(0)",
    "forge: frames of another width": "os.write(1, '[-1, \"loaded\"]\\n'.encode('utf-16'))\nos._exit(0)",
    "forge: half a surrogate": """
os.write(1, b'[-1, "loaded"]\\n[0, "value", "{\\\\"x\\\\": \\\\"\\\\ud800\\\\"}"]\\n')
os._exit(0)""",
    "forge: a setup failure": "os._exit(70)",
    "forge: an object that equals everything": """
class T(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def solve(x):
    return T(7)""",
    "forge: containers that equal everything": """
class T(dict):
    def __eq__(self, other): return True
class U(list):
    def __eq__(self, other): return True
class V(str):
    def __eq__(self, other): return True
def solve(x):
    return [T(), U(), V(), [T()], {'a': U()}][hash(str(x)) % 5]""",
    "forge: True for 1, NaN for a number": "solve = lambda x: float('nan')",
    "forge: find the expected output": f"""
import gc
def solve(x):
    texts, frame = [], sys._getframe()
    while frame:
        texts += [repr(frame.f_locals), repr(frame.f_globals)[:200000]]; frame = frame.f_back
    texts += [repr(dict(os.environ)), repr(sys.argv)]
    texts += [str(o) for o in gc.get_objects() if type(o) in (dict, list, tuple) and len(o) < 50]
    wanted = '{str(SECRET)[::-1]}'[::-1]
    return 'THROUGH' if any(wanted in t for t in texts) else 'no'""",
    # --- spoil the worker, or spy on what it did before
    "spoil: builtins and modules": """
import builtins, json, random, struct
builtins.len = builtins.all = builtins.isinstance = lambda *a: True
json.dumps = json.loads = os.write = os.read = os._exit = None
random.seed(1)
for m in list(sys.modules): sys.modules[m] = None
def solve(x):
    return 5""",
    "spoil: the harness in our frames": f"""
def solve(x):
    frame = sys._getframe()
    while frame:
        for k in ('say', 'codec', 'k', 'text', 'value'): frame.f_globals[k] = lambda *a: '{SECRET - 1}'
        for m in (frame.f_globals, frame.f_locals):
            for name in list(m):
                if callable(m[name]) and name not in ('solve',): m[name] = lambda *a: 'THROUGH'
        frame = frame.f_back
    return 5""",
    "spoil: the shared module store": """
import gc, mmap
def solve(x):
    stores = [o for o in gc.get_objects() if type(o) is mmap.mmap] + [
        v for m in sys.meta_path for v in getattr(m, '__dict__', {}).values() if type(v) is mmap.mmap]
    L.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for s in stores:
        copy = bytes(s)
        where = ctypes.addressof(ctypes.c_char.from_buffer_copy(b'x'))
        start = ctypes.c_void_p.from_address(id(s) + 16).value
        if L.mprotect(start, len(s), 3) == 0: ctypes.memset(start, 0, len(s))
    return len(stores)""",
    "spoil: the zygote's descriptors": """
for fd in range(64):
    try: os.lseek(fd, 0, 0)
    except (OSError, TypeError): pass
L.close.argtypes = [ctypes.c_int]
for fd in range(64): L.close(fd)
L.syscall(ctypes.c_long(N['exit_group']), 0)""",
    "spoil: terminal and clocks": """
def solve(x):
    return [call('ioctl', fd, 0x5412, b'x') for fd in range(4)] + [
        call('sethostname', b'x', 1), call('reboot', 0, 0, 0)]""",
    "spy: objects of earlier programs": """
import gc
def solve(x):
    wanted = 'earlier-' + 'program' + '-7f3a'
    return 'THROUGH' if any(wanted in str(o) for o in gc.get_objects() if type(o) in (str, bytes, dict)) else 'no'""",
    "spy: memory of earlier programs": """
def solve(x):
    wanted = b'earlier-' + b'program' + b'-7f3' + bytes([97])
    L.sbrk.restype = ctypes.c_void_p
    top = L.sbrk(0)
    size = 4 << 20
    while size:
        n = ctypes.c_long(0)
        # only what is mapped can be read: the heap grows down from its top
        start, length = ctypes.c_void_p((top - size) & ~4095), ctypes.c_size_t(size & ~4095)
        r = L.syscall(ctypes.c_long(N['madvise']), start, length, 14)
        if r == 0: break
        size //= 2
    heap = ctypes.string_at((top - size) & ~4095, size & ~4095)
    return 'THROUGH' if heap.count(wanted) > heap.count(b'xx' + wanted) else 'no'""",
    "spy: descriptors of earlier programs": """
def solve(x):
    got = []
    for fd in (2, *range(4, 256)):
        try: got.append(os.pread(fd, 100, 0))
        except OSError: pass
    return 'THROUGH' if any(got) else 'no'""",
    # --- raw machine
    "raw: executable memory": """
def solve(x):
    L.mmap.restype = ctypes.c_void_p
    got = L.mmap(None, ctypes.c_size_t(4096), 7, 0x22, -1, ctypes.c_size_t(0))
    two = L.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_size_t(0))
    L.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return ['THROUGH' if got != 2 ** 64 - 1 else 'no', 'THROUGH' if L.mprotect(two, 4096, 5) == 0 else 'no',
            call('pkey_alloc', 0, 0)]""",
    "raw: callbacks": "solve = lambda x: ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)()",
    "raw: libc past Python": """
def solve(x):
    names = ('fork', 'vfork', 'getppid')
    return [tried(lambda: 1 / (getattr(L, n)() > 0)) if n != 'getppid' else 'no' for n in names] + [
        'THROUGH' if L.system(b'true') == 0 else 'no', 'THROUGH' if L.open(b'/', 0) >= 0 else 'no',
        'THROUGH' if L.socket(1, 1, 0) >= 0 else 'no', 'THROUGH' if L.chdir(b'/') == 0 else 'no']""",
}

X86: dict[str, str] = {
    "raw: x32 calls": """
def solve(x):
    return ['THROUGH' if L.syscall(ctypes.c_long(0x40000000 + n), b'/', 0) >= 0 else 'no' for n in (2, 257, 41)]""",
    "raw: int 0x80 from code of our own": """
def solve(x):
    L.mmap.restype = ctypes.c_void_p
    p = L.mmap(None, ctypes.c_size_t(4096), 7, 0x22, -1, ctypes.c_size_t(0))
    code = bytes.fromhex('b814000000cd80c3')  # getpid of the 32-bit table
    ctypes.memmove(p, code, len(code))
    return 'THROUGH: %d' % ctypes.CFUNCTYPE(ctypes.c_long)(p)()""",
    "raw: int 0x80 from bytes that are there": """
import re
def solve(x):
    base = ctypes.cast(L.getpid, ctypes.c_void_p).value & ~0xfff
    text = ctypes.string_at(base, 1 << 16)
    at = [m.start() for m in re.finditer(b'\\xcd\\x80', text)]
    return 'THROUGH: %d' % ctypes.PYFUNCTYPE(ctypes.c_long)(base + at[0])() if at else 'no'""",
    "raw: I/O ports": "solve = lambda x: call('iopl', 3)",
}

SCRIPTS: dict[str, str] = {
    "script: read the source of others": "print(tried(lambda: open('/proc/1/cmdline').read()))",
    "script: look past standard input": """
for fd in range(4):
    try: os.lseek(fd, 0, 0); text = os.read(fd, 1 << 20)
    except OSError: continue
    if b'"""
    + str(SECRET)
    + """' in text: print('THROUGH')""",
    "script: endless output": "while 1: print('A' * 4096)",
    "script: endless output past Python": "while 1: L.write(1, b'A' * 4096, 4096)",
    "script: early exit after nothing": "os._exit(0)",
    "script: read for ever": "while 1: sys.stdin.read(); time.sleep(0.01)",
    "script: wait for a thread for ever": "import threading\nthreading.Thread(target=lambda: time.sleep(100)).start()",
    "script: exit handlers": "import atexit\n@atexit.register\ndef f():\n    while 1: pass",
    "script: fork and print twice": "print(tried(os.fork))",
    "script: asks for the network": "import urllib.request\n"
    "print(tried(lambda: urllib.request.urlopen('http://127.0.0.1')))",
}


def programs() -> dict[str, Program]:
    """Every attack of this machine, by name."""
    own = FUNCTIONS | later.FUNCTIONS | later.CLONES
    own |= X86 | later.X86_CALLS if os.uname().machine == "x86_64" else {}
    found = {name: Program(HEAD + source, [["a"]]) for name, source in own.items()}
    scripts = SCRIPTS | later.SCRIPTS
    return found | {name: Program(HEAD + source, ["1\n"], form="script") for name, source in scripts.items()}


HONEST = Program("import difflib, shlex\ndef solve(a, b):\n    return [a + b, a == 1]", [[1, 2], [3, 4]])
"""Imports from the store, which an attack may have tried to spoil."""
EARLIER = Program(
    f"""
import os, threading, time
secret = {MARK!r} * 3
def solve(x):
    for _ in range(5):
        t = threading.Thread(target=int); t.start(); t.join()
    os.write(2, b'{MARK}-and-more' * 20)
    os.lseek(3, 0, 0)
    os.write(3, b'LAST-' + b'WORDS-77-and-more' * 20)
    return x + secret + '-and-more'
""",
    [[MARK * 100]] * 3,
)


def through(outcomes: Sequence[Outcome]) -> bool:
    """Whether an attack got what it wanted: it says so, or its answer is the expected one."""
    return any("THROUGH" in repr(o) or (o.answered and same(SECRET, o.value)) for o in outcomes)


def honest(outcomes: Sequence[Outcome]) -> bool:
    return [o.value if o.answered else None for o in outcomes] == [[3, True], [7, False]]


def assail(sandbox: Sandbox) -> dict[str, str]:
    """Attack by attack: what got through, or spoiled the next program; empty if nothing did."""
    wrong = {}
    assert sandbox.workers == 1  # the same worker runs what came before, the attack, and what comes next
    for name, program in programs().items():
        replaced = sandbox.replaced
        _, outcomes, *after = sandbox.run([EARLIER, program, HONEST, HONEST])
        if through(outcomes):
            wrong[name] = f"got through: {outcomes}"
        elif not all(map(honest, after)):
            wrong[name] = f"spoiled the next program: {after}"
        elif sandbox.replaced != replaced:
            wrong[name] = "cost a worker"
    return wrong


def main() -> None:
    found = {}
    for mode in sys.argv[1:]:
        start = time.process_time(), time.monotonic()
        with Sandbox(mode, workers=1, limits=LIMITS) as sandbox:
            found[mode] = {
                "uid": os.geteuid(),
                "described": sandbox.describe(),
                "attacks": len(programs()),
                "wrong": assail(sandbox),
                "seconds": time.monotonic() - start[1],
            }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
