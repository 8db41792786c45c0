"""Run at start-up in every process: before OpenRLHF is imported, its CUDA calls are redirected."""

import sys


class BeforeOpenRlhf:
    """A finder that finds nothing: it notices the first import of ``openrlhf``, and patches what that will use."""

    def find_spec(self, name, path=None, target=None):
        if name == "openrlhf":
            sys.meta_path.remove(self)
            import on_cpu

            on_cpu.patch()
        return None


sys.meta_path.insert(0, BeforeOpenRlhf())
