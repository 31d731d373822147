"""What each command of `robot-stack` may be told: one dataclass a command, made of the settings in `schema.py`.

A field that holds settings is a Hydra group (`policy=flow` picks `config/policy/flow.yaml`); any other field is a plain key.
`robot` is a name in `config/robots/` or the path of a YAML file.
"""

from dataclasses import dataclass, field

from omegaconf import MISSING

from robot_stack.config.collect import CollectSettings, QualitySettings
from robot_stack.config.console import ConsoleCommand as ConsoleCommand
from robot_stack.config.fault import FaultCommand as FaultCommand
from robot_stack.config.gate import GateSettings
from robot_stack.config.playback import PlaybackSettings
from robot_stack.config.relabel import RelabelCommand as RelabelCommand
from robot_stack.config.schema import (
    DemoSettings,
    DetectorSettings,
    MonitorSettings,
    PolicySettings,
    QRankSettings,
    RunSettings,
    SafetySettings,
    SmoothingSettings,
    TacoSettings,
    TaskSettings,
    TrainSettings,
    VocbfSettings,
)
from robot_stack.config.secure import SecureCommand as SecureCommand
from robot_stack.config.teleop import TeleopSettings
from robot_stack.errors import ConfigError

SELECTORS = ("taco", "q_rank", "none")


@dataclass(frozen=True)
class RunCommand:
    """Launch the ROS 2 graph with the policy in `bundle`, and a human who may intervene where `teleop` is a device.

    `shadow`: everything runs and is logged, nothing is sent to the arm; each tick is decided from where the arm is measured.
    """

    bundle: str = MISSING
    robot: str = "sim_arm"
    run: RunSettings = field(default_factory=RunSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    task: TaskSettings = field(default_factory=TaskSettings)
    teleop: TeleopSettings = field(default_factory=TeleopSettings)
    shadow: bool = False


@dataclass(frozen=True)
class RecordCommand:
    """Launch the same graph with a human in the policy's place: at a device, or, on `sim_arm`, a scripted one (`clumsy`). With
    `bundle` its policy has the arm, and the human at a device intervenes by the clutch.

    `out`: the folder the episodes go to ("": the run's own); with `resume` to one that has some already, of the same robot and
    task, whose numbers go on. `collect`: the session, `quality`: what an episode must be like, or it is asked whether to keep it.
    """

    robot: str = "sim_arm"
    clumsy: bool = False
    bundle: str = ""
    run: RunSettings = field(default_factory=RunSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    task: TaskSettings = field(default_factory=TaskSettings)
    teleop: TeleopSettings = field(default_factory=TeleopSettings)
    out: str = ""
    resume: bool = False
    collect: CollectSettings = field(default_factory=CollectSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)


@dataclass(frozen=True)
class TrainCommand:
    """Train a policy on `dataset` (LeRobot, a folder of episode logs, or a robomimic file) into the checkpoint folder `out`."""

    dataset: str = MISSING
    out: str = "runs/train"
    policy: PolicySettings = field(default_factory=PolicySettings)
    train: TrainSettings = field(default_factory=TrainSettings)


@dataclass(frozen=True)
class ExportCommand:
    """Turn `checkpoint` into the bundle `out`. `dataset` is the one it was trained on: for the parity figure and the selector:
    taco (the most familiar candidate), q_rank (the best by a critic of what was earned: relabel rewards first) or none.

    A `checkpoint` may also be what robomimic (`model_epoch_N.pth`) or LeRobot (its folder) saved: then with taco or none.

    `precision` of the networks: fp32, fp16, bf16, int8, fp8. Refused where a chunk is further than `tolerance` (rad; 0: what
    that precision is allowed) from PyTorch's on recorded observations."""

    checkpoint: str = MISSING
    dataset: str = MISSING
    out: str = "runs/bundle"
    selector: str = "taco"
    precision: str = "fp32"
    tolerance: float = 0.0
    taco: TacoSettings = field(default_factory=TacoSettings)
    q_rank: QRankSettings = field(default_factory=QRankSettings)

    def __post_init__(self) -> None:
        if self.selector not in SELECTORS:
            raise ConfigError(f"selector: found {self.selector!r}, allowed {', '.join(SELECTORS)}")


@dataclass(frozen=True)
class ReplayCommand:
    """Replay a `log`: verdicts must be bit-equal and, with the `bundle` that was recorded, its chunks the same.

    `log`: a folder with one or many below it, or several folders, separated as in PATH.
    `config` ("safety.keep_out_margin=0.05") or another `bundle` changes the robot: what it would have done otherwise is said,
    tick by tick in `out`/behaviour.jsonl. `accept`: why verdicts that differ are meant to; they become references beside it.
    `ray`: many logs at once, "local" or on the cluster at that address, with the same answer.
    `publish`: play the log on ROS 2 topics at its true times instead, as `playback` says.
    Or a `dataset` through a `bundle`: the chunk error on every `stride`-th sample of the last `holdout` episodes; table and
    picture go to `out`.
    """

    log: str = ""
    dataset: str = ""
    bundle: str = ""
    config: str = ""
    accept: str = ""
    ray: str = ""
    publish: bool = False
    holdout: int = 4
    stride: int = 5
    out: str = "runs/replay"
    playback: PlaybackSettings = field(default_factory=PlaybackSettings)


@dataclass(frozen=True)
class ResimCommand:
    """Play what was recorded again in a simulator, open loop: a `log` (or a folder of them), or a robomimic `dataset`.

    `as_seen`: a demonstration begins where its first observation shows, not where its recorded state says. `limit` > 0: only
    the first so many. `identify` delay, gains, damping and friction on all but the last `holdout`, in that many `evaluations`.
    `trust`: which joints' transitions can be told from the simulator's, and the results weighted by how likely the robot makes
    the simulated ones. `pictures` of the first camera are compared with the simulated ones: no log holds where objects are.
    """

    log: str = ""
    dataset: str = ""
    as_seen: bool = True
    limit: int = 0
    pictures: int = 3
    identify: bool = False
    trust: bool = False
    holdout: int = 1
    evaluations: int = 12
    out: str = "runs/resim"


@dataclass(frozen=True)
class ValidateCommand:
    """May `bundle` replace the bundle `against`? `logs`: recorded episodes (or a LeRobot dataset) both are looked at on.

    `config`: settings of the robot changed with it ("safety.keep_out_margin=0.05, monitor.frozen_frames=4"); `suite`: suites of
    conditions (small, all, starts, light, texture, cameras, distractors, latency, noise, dynamics, scenarios) or scenarios of the
    simulated world, on paired seeds. The verdict goes to `out`, as a page and as JSON; the exit code says which it is.
    """

    bundle: str = MISSING
    against: str = MISSING
    logs: str = MISSING
    config: str = ""
    suite: list[str] = field(default_factory=lambda: ["nominal"])
    out: str = "runs/validate"
    gate: GateSettings = field(default_factory=GateSettings)


@dataclass(frozen=True)
class ReportCommand:
    """Write one HTML report of the episode logs in the folder `log`; `ray` as in `replay`."""

    log: str = MISSING
    ray: str = ""
    out: str = "runs/report.html"


@dataclass(frozen=True)
class CertifyCommand:
    """How far may an observation's error move the actions of `bundle`? Certified by noise, measured by attack.

    Observations are spread over the last `holdout` episodes of `dataset` (a folder of logs, or a LeRobot dataset). `checkpoint`:
    what the bundle was exported from; with it attacks follow the gradient into the pictures. The certificate goes to `out`.
    """

    bundle: str = MISSING
    dataset: str = MISSING
    checkpoint: str = ""
    robot: str = "sim_arm"
    holdout: int = 4
    out: str = "runs/certify"
    smoothing: SmoothingSettings = field(default_factory=SmoothingSettings)


@dataclass(frozen=True)
class CalibrateCommand:
    """Calibrate the servo arm `robot`, on `port` ("": the one of its file). `directions`: ask which way each joint counts."""

    robot: str = MISSING
    port: str = ""
    directions: bool = False


@dataclass(frozen=True)
class FindCamerasCommand:
    """List the cameras plugged in, those at `urls` (or paths), and the image topics of ROS 2 `domain`; pictures go to `out`.

    USB cameras are asked for `width` x `height`.
    """

    urls: list[str] = field(default_factory=list)
    domain: int = 0
    width: int = 640
    height: int = 480
    out: str = "runs/cameras"


@dataclass(frozen=True)
class DoctorCommand:
    """Look at this computer with the eyes of `robot`."""

    robot: str = "sim_arm"


@dataclass(frozen=True)
class DemoCommand:
    """The main job on the simulated robot, all of it."""

    robot: str = "sim_arm"
    demo: DemoSettings = field(default_factory=DemoSettings)
    run: RunSettings = field(default_factory=RunSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    task: TaskSettings = field(default_factory=TaskSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    taco: TacoSettings = field(default_factory=TacoSettings)
    vocbf: VocbfSettings = field(default_factory=VocbfSettings)
