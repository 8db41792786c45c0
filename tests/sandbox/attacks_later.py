"""Attacks of the second round: what programs leave to each other, time, forged numbers and marks, new calls."""

from __future__ import annotations

from loopkit.sandbox.inside import kernel

FLAGS = {"sibling": kernel.SIBLING, "sibling with numbers": kernel.SIBLING | kernel.OWN_NUMBERS, "numbers": 0x30000011,
         "copy": kernel.COPY, "vfork": 0x4111, "parent": 0x8011, "files": 0x411, "thread with a namespace": 0x203D0F00}  # fmt: skip
CALLS = {
    # name: (number on x86-64, arguments); each answers a number below 0 where it is refused
    "pidfd_getfd": (438, "3, 0, 0"), "epoll_create1": (291, "0"), "signalfd4": (289, "-1, 0, 8, 0"),
    "timer_create": (222, "0, 0, 0"), "mlockall": (151, "3"), "shmat": (30, "0, 0, 0"), "mincore": (27, "0, 4096, 0"),
    "name_to_handle_at": (303, "0, 0, 0, 0, 0"), "open_by_handle_at": (304, "0, 0, 0"), "membarrier": (324, "0, 0, 0"),
    "copy_file_range": (326, "0, 0, 1, 0, 10, 0"), "tee": (276, "0, 1, 10, 0"), "pwrite64": (18, "1, 0, 0, 0"),
    "preadv2": (327, "0, 0, 0, 0, 0, 0"), "pkey_mprotect": (329, "0, 0, 5, 0"), "io_uring_enter": (426, "3, 1, 1, 0, 0, 0"),
    "landlock_add_rule": (445, "3, 1, 0, 0"), "fsopen": (430, "0, 0"), "move_mount": (429, "0, 0, 0, 0, 0"),
    "mount_setattr": (442, "0, 0, 0, 0, 0"), "futex_waitv": (449, "0, 0, 0, 0, 0"), "map_shadow_stack": (453, "0, 4096, 0"),
    "lsm_get_self_attr": (459, "100, 0, 0, 0"), "modify_ldt": (154, "0, 0, 0"), "ioperm": (173, "0, 1, 1"),
    "alarm": (37, "100"), "getppid": (110, ""), "capget": (125, "0, 0"), "rt_sigqueueinfo": (129, "1, 9, 0"),
    "rt_tgsigqueueinfo": (297, "1, 1, 9, 0"), "close_range": (436, "0, -1, 2"), "dup2": (33, "1, 0"),
    "sched_getaffinity": (204, "0, 8, 0"), "truncate a file": (76, "0, 0"), "faccessat2": (439, "-100, 0, 0, 0"),
    "readlink": (89, "0, 0, 0"), "memfd_create": (319, "0, 0"), "prctl: live on": (157, "1, 0, 0, 0, 0"),
    "arch_prctl": (158, "0x1002, 0"), "sched_setscheduler": (144, "0, 0, 0"),
}  # fmt: skip

X86_CALLS = {
    f"kernel: {name}": f"def solve(x):\n    got = L.syscall(ctypes.c_long({number}), {arguments or 0})\n"
    "    return 'THROUGH %d' % got if got >= 0 else 'no'"
    for name, (number, arguments) in CALLS.items()
}
CLONES = {
    f"kernel: clone as a {name}": f"""
def solve(x):
    got = L.syscall(ctypes.c_long(N['clone']), ctypes.c_ulong({flags}), *[ctypes.c_ulong(0)] * 4)
    if got == 0: L.syscall(ctypes.c_long(N['exit_group']), 0)
    return 'THROUGH' if got >= 0 else 'no'"""
    for name, flags in FLAGS.items()
}
FUNCTIONS: dict[str, str] = {
    # --- what is open
    "open: every descriptor there could be": """
def solve(x):
    got = []
    for fd in range(4, 70000):
        try: os.lseek(fd, 0, 0)
        except OSError as e:
            if e.errno != 9: got.append(fd)
        else: got.append(fd)
    return 'THROUGH %s' % got if got else 'no'""",
    "open: the mark of the beginning": """
def solve(x):
    got = [fd for fd in range(4, 64) if L.write(fd, b'-setup failed', 13) > 0]
    os.lseek(0, 0, 0)
    os.write(0, b'-not begun')
    return 'THROUGH' if got else 'no'""",
    "open: cut other files to length": """
def solve(x):
    os.write(1, b'')
    return ['THROUGH' if L.syscall(ctypes.c_long(N['ftruncate']), fd, 0) >= 0 else 'no' for fd in (1, 2, 3, 4, -1)]""",
    "open: a huge standard input": """
def solve(x):
    grown = L.syscall(ctypes.c_long(N['ftruncate']), 0, ctypes.c_ulong(1 << 40))
    return 'THROUGH' if grown >= 0 else 'no'""",
    "open: fill every file": """
def solve(x):
    total = 0
    for fd in (0, 2, 3):
        try:
            while 1: total += os.write(fd, bytes(1 << 16))
        except OSError: pass
    return 'THROUGH %d' % total if total > 8 << 20 else 'no'""",
    # --- what others left
    "left: process numbers": """
def solve(x):
    import threading
    own = [L.syscall(ctypes.c_long(N[n])) for n in ('getpid', 'gettid')]
    t = threading.Thread(target=int); t.start(); t.join()
    return 'no' if own == [1, 1] and (t.native_id or 2) == 2 else 'THROUGH %s %s' % (own, t.native_id)""",
    "left: processor time of others": """
def solve(x):
    return [tried(lambda: time.clock_gettime((~p << 3) | k)) for p in (0, 1, 2, 3, *range(4, 40000, 7)) for k in (0, 2)
            if not tried(lambda: time.clock_gettime((~p << 3) | k)).startswith('no')]""",
    "left: use of resources": """
def solve(x):
    import resource
    used, own = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    late = own.ru_utime + own.ru_stime > 0.2
    return 'THROUGH' if late or any(used[:2]) or used.ru_minflt or used.ru_maxrss else 'no'""",
    "left: words in any memory": """
def solve(x):
    wanted = [b'earlier-' + b'program' + b'-7f3' + bytes([97]), b'LAST-' + b'WORDS-' + bytes([55, 55])]
    hits, step = 0, 1 << 16
    L.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    L.sbrk.restype = ctypes.c_void_p
    import gc
    places = {id(o) & ~0xfffff for o in gc.get_objects()} | {(L.sbrk(0) - k * (1 << 20)) & ~0xfffff for k in range(16)}
    for place in places:
        for at in range(place, place + (1 << 20), step):
            if L.madvise(at, step, 14) == 0:
                data = ctypes.string_at(at, step)
                for w in wanted:  # the whole word is never put together here: it would find itself
                    found = data.find(w)
                    while found >= 0:
                        hits += data[found + len(w):found + len(w) + 9] == b'-and-more'
                        found = data.find(w, found + 1)
    return 'THROUGH %d' % hits if hits else 'no'""",
    "left: objects of the harness": """
def solve(x):
    import gc
    return 'THROUGH' if any(type(o) is dict and ('ru_utime' in o or 'killed' in o) for o in gc.get_objects()) else 'no'""",
    # --- time
    "time: timers off, and on again": """
def solve(x):
    for which in (0, 1, 2): signal.setitimer(which, 0); signal.setitimer(which, 1000, 1000)
    while 1: pass""",
    "time: signals blocked": """
def solve(x):
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    while 1: time.sleep(1)""",
    "time: lines that extend it": """
def solve(x):
    while 1:
        for fd in (2, 3):
            try: os.write(fd, b'\\n')
            except OSError: pass
        time.sleep(0.01)""",
    "time: many threads at once": """
import threading, zlib
def burn():
    data = os.urandom(1 << 18)
    while 1: zlib.compress(data, 9)
def solve(x):
    for _ in range(8): threading.Thread(target=burn, daemon=True).start()
    time.sleep(1000)""",
    "time: an answer, and then none": """
def solve(x):
    os.write(1, b'[0, "value", 3]\\n')
    while 1: pass""",
    "time: sleep in short pieces": "def solve(x):\n    while 1: time.sleep(1e-6)",
    # --- numbers, marks and claims that are forged
    "forge: the machine refused a thread": "os.lseek(3, 0, 0); os.write(3, b'a thread')\nos._exit(71)",
    "forge: the machine refused memory": "def solve(x):\n    os.write(3, b'memory')\n    os._exit(71)",
    "forge: a memory error that is none": "def solve(x): raise MemoryError",
    "forge: threads that are refused": """
import _thread
_thread._count = lambda: 0
def solve(x):
    for _ in range(100): _thread.start_new_thread(time.sleep, (1,))""",
    "forge: a value in the frame": 'os.write(1, b\'[-1, "loaded"]\\n[0, "value", {"d": [[[], 1]]}]\\n\')\nos._exit(0)',
    "forge: a value twice": """
def solve(x):
    os.write(1, b'[0, "value", 1]\\n[0, "value", "THROUGH"]\\n')
    return 2""",
    "forge: frames out of order": 'os.write(1, b\'[0, "value", "THROUGH"]\\n[-1, "loaded"]\\n\')\nos._exit(0)',
    "forge: a number of the job": """
for fd in range(1, 64):
    for n in range(1, 400, 37):
        try: fd > 3 and os.write(fd, b'{"job": %d, "status": 0, "killed": "", "cpu": 0.0, "refused": 0}' % n)
        except OSError: pass
solve = lambda x: 1""",
    "forge: an encoder of its own": """
import sys
codec = next(m for n, m in list(sys.modules.items()) if n.endswith('inside.codec'))
codec.encode = lambda value: '{"x": "THROUGH"}'
solve = lambda x: 1""",
    "forge: bases that lie": """
class T(int):
    def __pos__(self): return 10 ** 9
    def __index__(self): return 10 ** 9
    __int__ = __index__
class L2(list):
    def copy(self): return ['THROUGH']
    def __iter__(self): return iter(['THROUGH'])
class D(dict):
    def items(self): return [('THROUGH', 1)]
def solve(x):
    return [T(3), L2([1]), D(a=1)]""",
    "forge: a class that lies about its class": """
class T:
    __class__ = int
    def __reduce__(self): return (str, ('THROUGH',))
solve = lambda x: T()""",
    # --- the interpreter that is copied
    "spoil: the surroundings": """
import sys
place = next(m for n, m in list(sys.modules.items()) if n.endswith('inside.surroundings'))
for name in list(vars(place)):
    if not name.startswith('__'): setattr(place, name, None)
solve = lambda x: 1""",
    "spoil: the zygote's own loop": """
import sys
for n in list(sys.modules):
    if 'inside' in n:
        for name in list(vars(sys.modules[n])):
            if not name.startswith('__'): setattr(sys.modules[n], name, lambda *a, **k: 'THROUGH')
solve = lambda x: 1""",
    "spoil: fixes of the importer": """
importer = sys.meta_path[-1]
importer.fixes = {name: (lambda m: os._exit(0)) for name in ('difflib', 'shlex')}
importer._index.clear()
solve = lambda x: 1""",
    "spoil: frozen objects and their counts": """
import gc
gc.unfreeze()
for o in gc.get_objects()[:20000]:
    if type(o) is dict and '__name__' not in o:
        try: o.clear()
        except BaseException: pass
os._exit(0)""",
    "spoil: reference counts": """
for o in (None, True, 0, '', ()):
    for _ in range(1000): ctypes.pythonapi.Py_DecRef(ctypes.py_object(o)) if o is not None else None
os._exit(0)""",
    "spoil: standard streams": """
sys.stdin.detach(); sys.stdout.detach(); sys.stderr.detach()
sys.stdin = sys.stdout = sys.stderr = sys.__stdout__ = None
for fd in (0, 2, 3):
    try: os.close(fd)
    except OSError: pass
solve = lambda x: 1""",
    "spoil: hash seeds and interned names": "sys.intern = sys.getsizeof = None\nimport _random\ndel _random.Random\nsolve = lambda x: 1",
    "spoil: die in every way at once": """
import threading
def die(): ctypes.string_at(0)
for _ in range(20): threading.Thread(target=die).start()
ctypes.string_at(1)""",
    # --- answers that are dear to read
    "dear: keys that collide": "def solve(x): return {k * (2 ** 61 - 1): 0 for k in range(2000)}",
    "dear: sets of sets": "def solve(x): return {frozenset([frozenset([i])]) for i in range(5000)}",
    "dear: strings of escapes": "def solve(x): return '\\\\\"\\x00' * 40000",
    "dear: a deep dict": "def solve(x):\n    d = {}\n    for _ in range(5000): d = {0: d}\n    return d",
    "dear: half a million empty lists": "def solve(x): return [[]] * 500000",
    "dear: an int of a million digits": "def solve(x): return 1 << 3_400_000",
}
SCRIPTS: dict[str, str] = {
    "script: more standard input than there is": "os.ftruncate(0, 1 << 20)\nprint(len(sys.stdin.read()) > 1 << 21 and 'THROUGH')",
    "script: another's exit code": "os._exit(256 + 71)",
    "script: claims a refusal": "os.lseek(3, 0, 0); os.write(3, b'a thread')\nos._exit(71)",
    "script: lines that extend its time": "while 1:\n    os.write(3, b'0 0\\n')\n    time.sleep(0.01)",
    "script: exit handlers that never end": "import atexit\natexit.register(time.sleep, 1000)",
    "script: a stream that raises": "class F:\n    closed = False\n    def flush(self): raise SystemExit(0)\n    def write(self, x): return 0\nsys.stdout = F()\nprint('x')",
}
