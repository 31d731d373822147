"""Every option of robot_stack, typed, with its unit. The YAML groups beside this file fill these; an unknown key is an error."""

from dataclasses import dataclass, fields

from robot_stack.config.bounds import at_least as _at_least
from robot_stack.config.learning import PolicySettings as PolicySettings
from robot_stack.config.learning import TrainSettings as TrainSettings
from robot_stack.config.offline import CriticSettings as CriticSettings
from robot_stack.config.offline import QRankSettings as QRankSettings
from robot_stack.config.running import RunSettings as RunSettings
from robot_stack.errors import ConfigError


@dataclass(frozen=True)
class SafetySettings:
    """Filter and mode machine. Times in s, lengths in m; `*_gain` are the alpha of a barrier row, 1/s.

    Joints older than `joints_stale_s` make the arm hold until they are back, older than `joints_lost_s` stop it for good.
    `barrier`: learned barrier files, separated as in PATH. `look_ahead_share`: of qdd_max, for stopping before what is ahead.
    """

    joints_stale_s: float = 0.05
    joints_lost_s: float = 0.20
    policy_silent_s: float = 0.28
    teleop_silent_s: float = 0.28
    monitor_silent_s: float = 0.28
    hazards_stale_s: float = 0.50
    fallback_silent_s: float = 0.10
    clear_s: float = 0.50
    stop_after_s: float = 4.0
    tracking_gain: float = 8.0
    keep_out_margin: float = 0.02
    keep_out_gain: float = 4.0
    workspace_gain: float = 8.0
    sigma_factor: float = 2.0
    hazard_horizon_s: float = 0.2
    slow_min: float = 0.15
    barrier: str = ""
    barrier_gain: float = 2.0
    barrier_level: float = 0.0
    self_collision_margin: float = 0.01
    self_collision_gain: float = 8.0
    look_ahead_share: float = 0.5
    tracking_limit: float = 0.15
    fallback_retreat_speed: float = 0.0
    fallback_wait_s: float = 0.30
    use_filter: bool = True

    def __post_init__(self) -> None:
        _at_least("safety", self, 0.0, *(f.name for f in fields(self) if f.type is float and f.name != "barrier_level"))


@dataclass(frozen=True)
class MonitorSettings:
    """The failure monitor. `model`: directory of its ONNX network ("" = model-free signals only).

    A picture, or one of its `bands` of rows, that shows the same pixels under `frozen_frames` stamps is an alarm; 1 band: only
    the whole picture, for cameras whose compression repeats still parts exactly.
    `alpha`: bound on the missed-failure rate, held with `confidence`. Grey levels (0..255) darker on average than `dark_level`,
    or more than `bright_share` of pixels above `bright_level`, is an alarm.
    `train_*` shape the training: pixels of the downsampled side, channels, gradient steps, pictures a batch, share held out.
    """

    model: str = ""
    rate_hz: float = 15.0
    alpha: float = 0.05
    confidence: float = 0.95
    frozen_frames: int = 3
    bands: int = 4
    frame_age_s: float = 0.20
    dark_level: float = 12.0
    bright_level: float = 250.0
    bright_share: float = 0.5
    train_pixels: int = 64
    train_width: int = 8
    train_steps: int = 350
    train_batch: int = 64
    train_lr: float = 2e-3
    train_rate_hz: float = 10.0
    train_holdout: float = 0.3

    def __post_init__(self) -> None:
        _at_least("monitor", self, 1, "bands", "frozen_frames")


@dataclass(frozen=True)
class DetectorSettings:
    """Where the red keep-out sphere is: `height` (m) of its centre and `radius` (m) are known, hue (0..179) wraps at 0.

    `pixel_sigma`: error of one boundary pixel, px. `sigma_min` m; speeds m/s; `window_s`: the track a speed is fitted to.
    """

    camera: str = "scene"
    height: float = 0.14
    radius: float = 0.05
    hue: int = 6
    saturation_min: int = 120
    value_min: int = 40
    coverage_min: float = 0.25
    pixel_sigma: float = 0.35
    sigma_min: float = 0.003
    speed_floor: float = 0.05
    speed_cap: float = 0.6
    window_s: float = 0.3


@dataclass(frozen=True)
class TacoSettings:
    """The coin-flip network: `flips` d, `width` H, `depth` residual blocks; Adam + OneCycle to `lr_max` over `epochs`."""

    flips: int = 20
    width: int = 96
    depth: int = 3
    dropout: float = 0.1
    gain: float = 10.0
    lr: float = 1e-4
    lr_max: float = 1e-3
    batch: int = 256
    epochs: int = 12


@dataclass(frozen=True)
class VocbfSettings:
    """The offline barrier. `expectile` tau, `discount` gamma a step of `dt` s; `margin` m: what the label h asks beyond contact.

    Labels are clipped at `h_max`; half of a batch has |h| < `near`. A logged motion is relabelled with `obstacles` hindsight
    positions and branched `branches` times for `branch_steps` steps.
    `epsilon`: allowed share of failing states called safe, at `confidence`; failing: h < 0 within `horizon_s` of logged motion.
    """

    width: int = 128
    expectile: float = 0.9
    discount: float = 0.99
    dt: float = 0.05
    lr: float = 2e-3
    batch: int = 512
    steps: int = 3000
    warm_share: float = 0.4
    margin: float = 0.02
    near: float = 0.05
    h_max: float = 0.15
    obstacles: int = 6
    branches: int = 6
    branch_steps: int = 20
    epsilon: float = 0.05
    confidence: float = 0.95
    horizon_s: float = 0.1
    holdout: float = 0.2


@dataclass(frozen=True)
class SmoothingSettings:
    """Noise that certifies: `joints` (share of each joint's std in the data) and `pixels` (grey levels) are one sigma.

    The certificate is of every change of the observation up to `radius` sigma (l2 norm, joints and pixels together), at
    `confidence`, from `samples` noisy decisions; an attack is measured with `attack_samples`. `tolerance` rad.
    """

    joints: float = 0.02
    pixels: float = 2.0
    radius: float = 1.0
    confidence: float = 0.95
    samples: int = 200
    attack_samples: int = 100
    observations: int = 12
    tolerance: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("smoothing", self, 1e-9, "joints", "pixels", "radius", "tolerance")
        _at_least("smoothing", self, 1, "samples", "attack_samples", "observations")
        if not 0.0 < self.confidence < 1.0:
            raise ConfigError(f"smoothing.confidence: found {self.confidence}, allowed between 0 and 1")


@dataclass(frozen=True)
class DemoSettings:
    """The main job. Shares are of the lock-step demonstrations; `close_calls` episodes with the obstacle going for the hand;
    `table_seeds` paired seeds a cell of the protections table."""

    root: str = "runs/demo"
    demonstrations: int = 120
    live_demonstrations: int = 3
    clumsy_share: float = 0.1
    obstacle_share: float = 0.2
    intruder_share: float = 0.25
    close_calls: int = 24
    camera_hz: float = 10.0
    processes: int = 2
    table_seeds: int = 4
    seed: int = 0


@dataclass(frozen=True)
class TaskSettings:
    """The tabletop task of the simulated world, m and s. Areas: (x_min, x_max, y_min, y_max) of object centres, world frame."""

    instruction: str = "Put the yellow cube on the green disc."
    cube_size: float = 0.036
    cube_mass: float = 0.04
    cube_area: tuple[float, float, float, float] = (0.26, 0.36, 0.11, 0.23)
    cube_yaw: float = 0.25
    decoy_distance: float = 0.11
    goal_area: tuple[float, float, float, float] = (0.27, 0.35, -0.25, -0.17)
    goal_radius: float = 0.06
    obstacle_radius: float = 0.05
    obstacle_height: float = 0.14
    obstacle_area: tuple[float, float, float, float] = (0.58, 0.66, -0.20, 0.20)
    obstacle_speed: float = 0.25
    home_jitter: float = 0.10
    pixel_noise: float = 0.03
    command_silent_s: float = 0.2
