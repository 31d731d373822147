"""A bundle as a policy: observation in, chunk out, by whatever `engine` runs its graph. numpy only; torch is not imported here.

The noise bank is drawn once and used at every decision (TACO does the same): a decision is a function of its observation alone.
`seams` says how one chunk goes over into the next: each as the policy wants it ("as_is"); drawn so that it goes on from the plan
("inpainted": real-time chunking in the graph, see `inpaint`); or the mean of plan and chunk ("averaged": what was planned before
weighs a quarter, an eighth, ...: the temporal ensembling of ACT, Zhao et al. 2023, as a recursion).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies.bundle import Bundle, load_bundle
from policies.engine import Engine, Value, open_engine
from policies.instruction import byte_tokens
from robot_stack.chunks import rows_at
from robot_stack.errors import PolicyError
from robot_stack.types import ActionChunk, Array, Candidates, Choice, Observation


class OnnxPolicy:
    """A Policy. `joint_names` and `cameras` say what it wants to see, `engine` what runs it, `manifest` everything else."""

    def __init__(
        self,
        bundle: Path | str,
        candidates: int = 0,
        threads: int = 1,
        seed: int = 42,
        joint_names: tuple[str, ...] | None = None,
        seams: str = "as_is",
        engine: str | Engine = "onnxruntime",
    ) -> None:
        """`candidates` N (0: the bundle's). `engine`: an open one, or what `open_engine` may be asked for.

        Raises PolicyError on a damaged bundle, joints other than `joint_names`, an engine that can't be used here, or where seams
        shall be inpainted by a graph that takes no plan.
        """
        self._bundle: Bundle = load_bundle(Path(bundle), joint_names)
        self.manifest = self._bundle.manifest
        self.joint_names = self.manifest.joint_names
        self.cameras = tuple(name for name, _ in self.manifest.cameras)
        if candidates < 0:
            raise PolicyError(
                f"candidates: found {candidates}, allowed 1 or more, or 0 for the bundle's {self.manifest.candidates}"
            )
        if seams == "inpainted" and not self.manifest.continues:
            raise PolicyError(f"{bundle}: its graph takes no plan to be inpainted from; export again, or run.seams=averaged")
        self._seams = seams
        num = candidates or self.manifest.candidates
        shape = (num, self.manifest.rows, len(self.joint_names))
        self._noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        opened = open_engine(self._bundle, engine, num, threads) if isinstance(engine, str) else (engine, engine.name)
        self._engine, self.engine = opened

    @property
    def noise(self) -> NDArray[np.float32]:
        """The bank (N, T, J) every decision is made with."""
        return self._noise.copy()

    def decide(self, observation: Observation) -> Choice:
        """Encode once, sample N candidates, choose one: its first row is due at the time of the observed joints.

        Raises PolicyError on an observation that is not of the kind the bundle was trained on.
        """
        chunk, winner, counts = self._run(["chunk", "winner", "counts"], observation, self._noise)
        due_ns = observation.joints.t_ns  # rows go on from these joints; the pictures may be older
        wanted = self._averaged(chunk, observation)
        rows = ActionChunk(observation.t_ns, due_ns, self.manifest.dt_ns, wanted, self.manifest.name)
        return Choice(rows, int(winner), counts if self.manifest.counted else None)

    def sample(self, observation: Observation, noise: NDArray[np.float32] | None = None) -> Candidates:
        """All N candidates: from the bank, or from `noise` (N, T, J)."""
        noise = self._noise if noise is None else noise
        if noise.ndim != 3 or noise.shape[1:] != self._noise.shape[1:]:
            raise PolicyError(f"noise: found {noise.shape}, allowed (N, {self._noise.shape[1]}, {self._noise.shape[2]})")
        actions, features, counts = self._run(["candidates", "features", "counts"], observation, noise)
        return Candidates(actions, features, counts if self.manifest.counted else None)

    def _averaged(self, rows: Array, observation: Observation) -> Array:
        plan, dt_ns = observation.plan, self.manifest.dt_ns
        if plan is None or self._seams != "averaged":
            return rows
        there = observation.joints.t_ns + dt_ns * np.arange(len(rows)) <= plan.t_end_ns
        before = rows_at(plan, observation.joints.t_ns, dt_ns, len(rows))
        return np.where(there[:, None], 0.5 * (rows + before), rows)

    def _plan(self, observation: Observation) -> dict[str, Value]:
        """The rows of the plan, and how many of them are given: those that will have been played."""
        rows, dt_ns, plan = self.manifest.rows, self.manifest.dt_ns, observation.plan
        if plan is None or self._seams != "inpainted":
            return {"plan": np.zeros((rows, len(self.joint_names)), np.float32), "given": np.zeros(1, np.int64)}
        given = min(1 + observation.given_ns // dt_ns, rows // 2)
        going_on = rows_at(plan, observation.joints.t_ns, dt_ns, rows).astype(np.float32)
        return {"plan": going_on, "given": np.array([given], np.int64)}

    def _run(self, outputs: list[str], observation: Observation, noise: NDArray[np.float32]) -> list[Array]:
        feed = self.feed(observation) | {"noise": noise}
        return [answer.astype(np.float64) for answer in self._engine.run(outputs, feed)]

    def feed(self, observation: Observation) -> dict[str, Value]:
        """The inputs of the graph for `observation`, with the bank as noise. Raises PolicyError as `decide` does."""
        manifest = self.manifest
        if not manifest.tokens and observation.instruction != manifest.instruction:
            raise PolicyError(
                f"instruction: found {observation.instruction!r}, allowed {manifest.instruction!r}: trained on that one only"
            )
        feed: dict[str, Value] = {f"image_{name}": _picture(observation, name, size) for name, size in manifest.cameras}
        feed["noise"] = self._noise
        q = observation.joints.q
        if q.shape != (len(self.joint_names),) or not np.isfinite(q).all():
            raise PolicyError(
                f"joints: found {q.shape}, finite: {bool(np.isfinite(q).all())}, allowed finite ({len(self.joint_names)},)"
            )
        feed["joints"] = q.astype(np.float32)
        if manifest.velocity:
            feed["speeds"] = observation.joints.qd.astype(np.float32)
        if manifest.tokens:
            feed["tokens"] = byte_tokens(observation.instruction, manifest.tokens)
        if manifest.continues:
            feed |= self._plan(observation)
        return feed


def _picture(observation: Observation, name: str, size: tuple[int, int]) -> Value:
    frames: Mapping[str, object] = observation.frames
    if name not in frames:
        raise PolicyError(f"camera {name}: not in the observation, which has {sorted(frames)}; is its camera_node running?")
    rgb = observation.frames[name].rgb
    if rgb.shape[:2] != size:
        raise PolicyError(f"camera {name}: found a picture of {rgb.shape[:2]}, allowed {size} (rows, columns) as in training")
    return rgb
