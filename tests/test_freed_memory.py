"""melanoma.freed_memory: what glibc is told of memory that was freed."""

import subprocess
import sys
import textwrap

import pytest

from melanoma.freed_memory import _libc

pytestmark = pytest.mark.skipif(_libc() is None, reason="the C library is not glibc")

_ROUNDS, _PAGES = 10, 64 * 2**20 // 4096
# A process of its own: what glibc was told once is not to be taken back from this one.
_COUNT = f"""
    import resource, sys
    import torch
    from melanoma import freed_memory as memory
    from melanoma.devices import CPU

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range({_ROUNDS}):
            torch.empty({64 * 2**20}, dtype=torch.uint8).fill_(1)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])
"""


def _count(code):
    script = textwrap.dedent(_COUNT) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return [int(word) for word in done.stdout.split()]


def test_kept_memory_is_not_made_of_new_pages_again():
    before, kept = _count("""
        print(faults())
        with memory.freed_memory_kept(CPU):
            faults()  # aligned blocks find their place after a few
            print(faults())
    """)
    assert before > _ROUNDS * _PAGES / 2
    assert kept < _PAGES / 10


def test_what_was_kept_goes_back_at_the_end():
    at_first, within, at_last = _count("""
        print(resident())
        with memory.freed_memory_kept(CPU):
            torch.empty(256 << 20, dtype=torch.uint8).fill_(1)
            print(resident())
        print(resident())
    """)
    assert within - at_first > 3 * _PAGES
    assert at_last - at_first < _PAGES


def test_a_large_block_goes_back_when_it_is_freed():
    at_first, at_last, given = _count("""
        memory.give_freed_memory_back()
        print(resident())
        for side in range(9, 27):  # glibc would learn from the first ones to keep the others
            torch.empty(side << 20, dtype=torch.uint8).fill_(1)
        print(resident(), faults())
    """)
    assert at_last - at_first < _PAGES / 10
    assert given > _ROUNDS * _PAGES / 2


def test_a_gpu_s_work_keeps_nothing():
    (faults,) = _count("""
        class Cuda:
            type = "cuda"

        with memory.freed_memory_kept(Cuda()):
            faults()
            print(faults())
    """)
    assert faults > _ROUNDS * _PAGES / 2
