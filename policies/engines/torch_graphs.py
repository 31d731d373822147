"""PyTorch itself: the reference every other engine is compared with and, as a CUDA graph, an engine for GPUs without TensorRT.

It runs the module and not the exported graph, so it needs a checkpoint, and torch on the robot.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from policies.engine import Value
from robot_stack.errors import PolicyError


class TorchEngine:
    """An Engine around a decision: a module from a dictionary of tensors to the outputs `names`, in that order.

    On a GPU the call is captured as a CUDA graph, for each number of candidates once.
    """

    def __init__(self, decision: nn.Module, names: Sequence[str], device: str = "cpu") -> None:
        """Raises PolicyError on a GPU that is not there."""
        if device != "cpu" and not torch.cuda.is_available():
            raise PolicyError(f"torch {torch.__version__}: found no GPU it can use, allowed device cpu")
        self._decision, self._names, self._device = decision.to(device), tuple(names), device
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, dict[str, Tensor], tuple[Tensor, ...]]] = {}
        self.name = f"torch {torch.__version__} on {device if device == 'cpu' else torch.cuda.get_device_name()}"

    @torch.inference_mode()
    def run(self, outputs: Sequence[str], feed: Mapping[str, Value]) -> list[Value]:
        """`outputs` of the decision for `feed`."""
        given = {name: torch.from_numpy(np.array(value)) for name, value in feed.items()}
        answers = self._decision(given) if self._device == "cpu" else self._launch(given)
        found = dict(zip(self._names, answers, strict=True))
        return [np.array(found[name].cpu().numpy()) for name in outputs]

    def _launch(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        number = len(given["noise"])
        if number not in self._graphs:
            self._graphs[number] = self._capture({name: value.to(self._device) for name, value in given.items()})
        graph, inputs, answers = self._graphs[number]
        for name, value in given.items():
            inputs[name].copy_(value.pin_memory(), non_blocking=True)
        graph.replay()
        torch.cuda.synchronize()
        return answers

    def _capture(self, inputs: dict[str, Tensor]) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor], tuple[Tensor, ...]]:
        aside, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.device(self._device):  # what a policy makes itself, its times and steps, belongs there too
            with torch.cuda.stream(aside):  # first calls allocate and choose kernels, which may not be captured
                for _ in range(3):
                    self._decision(inputs)
            torch.cuda.current_stream().wait_stream(aside)
            with torch.cuda.graph(graph):
                answers: tuple[Tensor, ...] = self._decision(inputs)
        return graph, inputs, answers
