"""Many processes train one policy: who this one is, and what they do together. Alone, each call here does next to nothing.

`torchrun --nproc-per-node=2 -m robot_stack train ...` says in the environment who is who; torch's own `torch.distributed` does
the rest. Lightning Fabric and Accelerate, which wrap it, were weighed: they bring 11 MB and more than 20 MB (an HTTP client each)
for the few calls below, and Fabric refuses FSDP without a GPU, so that no test of ours could run it.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist

from robot_stack.config.schema import TrainSettings
from robot_stack.errors import PolicyError

WORTH_SHARDING = 1_000_000
"""A repeated layer of so many weights is gathered and let go by itself; smaller ones go with the whole."""


@dataclass(frozen=True)
class Team:
    """This process is number `rank` of `size` and computes on `device`.

    `sharded`: weights, gradients, optimiser and average are cut up among them (FSDP); otherwise each has all (DDP).
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")
    sharded: bool = False

    def wrap(self, module: nn.Module) -> nn.Module:
        """`module` on the device, its gradients the mean over all processes. Its parameters are replaced where it is sharded."""
        module.to(self.device)
        if self.sharded:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh(self.device.type, (self.size,))
            for layer in _repeated(module):
                fully_shard(layer, mesh=mesh)
            fully_shard(module, mesh=mesh)
        elif self.size > 1:
            return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)
        return module

    def later(self, module: nn.Module) -> AbstractContextManager[object]:
        """Inside, gradients of the wrapped `module` are only added up here: the last part of a batch sends them."""
        return module.no_sync() if isinstance(module, nn.parallel.DistributedDataParallel) else nullcontext()

    def agreed(self, value: float) -> float:
        """The `value` of process 0: what the processes must not see differently, like a clock."""
        if self.size == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(told, 0)
        return float(told)

    def mean(self, value: float) -> float:
        """The mean of all their values."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total) / self.size

    def wait(self) -> None:
        """Go on when all are here."""
        if self.size > 1:
            dist.barrier()

    def part(self, tensor: Tensor) -> Tensor:
        """What of `tensor` lies in this process; not a copy."""
        return tensor.to_local() if self.sharded and hasattr(tensor, "to_local") else tensor

    def whole(self, tensor: Tensor) -> Tensor:
        """All of `tensor`, on the CPU. Every process has to ask."""
        return (tensor.full_tensor() if self.sharded and hasattr(tensor, "full_tensor") else tensor).detach().cpu()

    def fill(self, tensor: Tensor, whole: Tensor) -> None:
        """Put `whole`, the same in every process, into `tensor`."""
        if self.sharded:
            from torch.distributed.tensor import DTensor, distribute_tensor

            if isinstance(tensor, DTensor):
                whole = distribute_tensor(whole.to(self.device), tensor.device_mesh, tensor.placements)
        with torch.no_grad():
            tensor.copy_(whole)


@contextmanager
def team_of(train: TrainSettings) -> Iterator[Team]:
    """The processes torchrun started, joined for as long as this lasts; or this one alone.

    Raises PolicyError where the batch cannot be shared out among them.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    parts = train.parts or size
    if parts % size or train.batch % parts:
        raise PolicyError(
            f"train.parts: found {parts} of a batch of {train.batch} for {size} processes, allowed a multiple of the processes "
            "that divides the batch; next: another train.batch"
        )
    device = torch.device("cpu")
    if torch.cuda.is_available() and train.device != "cpu":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if size == 1:
        yield Team(device=device)
        return
    dist.init_process_group("gloo" if device.type == "cpu" else "nccl")
    try:
        yield Team(rank, size, device, train.sharded)
    finally:
        dist.destroy_process_group()


def _repeated(module: nn.Module) -> list[nn.Module]:
    """The large members of every list of layers in `module`."""
    lists = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    return [layer for part in lists for layer in part if sum(p.numel() for p in layer.parameters()) >= WORTH_SHARDING]
