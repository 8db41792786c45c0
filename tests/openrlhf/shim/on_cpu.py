"""Redirects the CUDA calls of OpenRLHF 0.11.2 to the CPU, and its weight sync to gloo; touches no algorithm.

``LOOPKIT_TEST_GPUS``: how many GPUs Ray is told there are. ``LOOPKIT_TEST_STALE=1``: the negative control, in which
the weights that travel to vLLM are always those of the first time.
"""

import os
import socket
from datetime import timedelta


class Device(str):
    """The CPU, which says it is number 0 where a CUDA device is asked for its number."""

    def __format__(self, spec):
        return "0"


class Gloo:
    """Stands in for vLLM's NCCL communicator: the same rendezvous, another data plane."""

    def __init__(self, group, device=None, **_):
        import torch.distributed as dist

        store = dist.PrefixStore("loopkit-weights", group.store)
        self.group = dist.ProcessGroupGloo(store, group.rank, group.world_size, timedelta(minutes=10))
        self.first = {} if os.environ.get("LOOPKIT_TEST_STALE") == "1" else None

    def broadcast(self, tensor, src, stream=None):
        import torch.distributed as dist

        options = dist.BroadcastOptions()
        options.rootRank, options.rootTensor = src, 0
        if self.first is not None and self.group.rank() == src:
            tensor = self.first.setdefault(tensor.data_ptr(), tensor.detach().clone())
        self.group.broadcast([tensor], options).wait()


AGENT_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def patch():
    import ray
    import torch
    import torch.distributed.device_mesh as device_mesh

    cuda, device = torch.cuda, Device("cpu")
    cuda.current_device = lambda: device
    for name in ("set_device", "synchronize", "current_stream"):
        setattr(cuda, name, lambda *args, **kwargs: None)

    def on_cpu(make, first=False):
        def made(*args, **kwargs):
            if first:
                args = ("cpu", *args[1:])
            elif kwargs.get("device") == "cuda":
                kwargs["device"] = "cpu"
            return make(*args, **kwargs)

        return made

    torch.empty = on_cpu(torch.empty)
    device_mesh.init_device_mesh = on_cpu(device_mesh.init_device_mesh, first=True)

    import vllm.distributed.device_communicators.pynccl as pynccl

    pynccl.PyNcclCommunicator = Gloo

    # vLLM's CPU build packs a matrix after loading it and drops the original, into which new weights are to be loaded.
    import vllm.model_executor.layers.utils as layers

    def unpacked(layer, remove_weight):
        layer.cpu_linear = torch.nn.functional.linear

    layers.dispatch_cpu_unquantized_gemm = unpacked

    # A raylet gives its agents 15 seconds to say which ports they chose, too few on a busy machine: choose for them.
    from ray._private.parameter import RayParams

    plain = RayParams.__init__

    def with_ports(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        for name in AGENT_PORTS:
            if not getattr(self, name):
                setattr(self, name, free_port())

    RayParams.__init__ = with_ports

    begin, gpus = ray.init, int(os.environ.get("LOOPKIT_TEST_GPUS", "1"))

    def init(*args, **kwargs):
        if os.environ.get("RAY_ADDRESS", "local") == "local" and not args and "address" not in kwargs:
            small = {"num_gpus": gpus, "num_cpus": gpus + 3, "include_dashboard": False}
            kwargs = {**small, "object_store_memory": 200_000_000, **kwargs}
        return begin(*args, **kwargs)

    ray.init = init
